/** Marks: what lies over a raster while a tool works, and is no label: the outline of the brush, prompts for a model. */

import Feature from "ol/Feature";
import { Circle as CircleGeometry, type Geometry, Point, Polygon } from "ol/geom";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Fill, Icon, Stroke, Style } from "ol/style";
import type { PromptRecord } from "../api/types";
import { closed, toCoordinate } from "./pixel_space";

export class Marks {
	private readonly source = new VectorSource<Feature<Geometry>>();
	readonly layer = new VectorLayer({ source: this.source, updateWhileInteracting: true, updateWhileAnimating: true });
	private readonly brush = new Feature<Geometry>();
	private prompts: Feature<Geometry>[] = [];
	private brushColor = "#ffffff";
	private brushRadius = 1;

	/** `radius` in raster pixels; `null` puts the brush away. */
	showBrush(coordinate: readonly number[] | null, radius: number, color: string): void {
		const shown = this.source.hasFeature(this.brush);
		if (!coordinate) {
			if (shown) {
				this.source.removeFeature(this.brush);
			}
			return;
		}
		if (color !== this.brushColor || radius !== this.brushRadius || !shown) {
			this.brushColor = color;
			this.brushRadius = radius;
			this.brush.setStyle([
				new Style({ stroke: new Stroke({ color: "#000000a0", width: 3.5 }) }),
				new Style({ stroke: new Stroke({ color, width: 1.5 }) }),
			]);
		}
		this.brush.setGeometry(new CircleGeometry([coordinate[0]!, coordinate[1]!], radius));
		if (!shown) {
			this.source.addFeature(this.brush);
		}
	}

	showPrompts(prompts: readonly PromptRecord[]): void {
		this.source.removeFeatures(this.prompts);
		this.prompts = prompts.map((prompt) => {
			const coordinates = prompt.points.map(toCoordinate);
			const feature = new Feature<Geometry>(prompt.kind === "box" ? boxOf(coordinates) : new Point(coordinates[0]!));
			feature.setStyle(prompt.kind === "box" ? BOX : sign(prompt.positive));
			return feature;
		});
		this.source.addFeatures(this.prompts);
	}
}

const BOX = new Style({ stroke: new Stroke({ color: "#63d2a1", width: 1.5, lineDash: [6, 4] }) });

function boxOf(corners: readonly [number, number][]): Polygon {
	const [a, b] = [corners[0]!, corners[1]!];
	return new Polygon([closed([a, [b[0], a[1]], b, [a[0], b[1]]])]);
}

/** A green plus or a red minus on a dark disc. */
function sign(positive: boolean): Style {
	const canvas = new OffscreenCanvas(20, 20);
	const context = canvas.getContext("2d");
	if (context) {
		context.fillStyle = "#0e1013";
		context.strokeStyle = positive ? "#63d2a1" : "#ff7b72";
		context.lineWidth = 2;
		context.beginPath();
		context.arc(10, 10, 8, 0, 2 * Math.PI);
		context.fill();
		context.stroke();
		context.beginPath();
		context.moveTo(6, 10);
		context.lineTo(14, 10);
		if (positive) {
			context.moveTo(10, 6);
			context.lineTo(10, 14);
		}
		context.stroke();
	}
	const image = canvas.transferToImageBitmap();
	return new Style({ image: new Icon({ img: image, size: [20, 20] }), fill: new Fill({ color: "#0000" }) });
}
