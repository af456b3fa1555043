/** A brush gesture while it is drawn: a round, wide line. The exact voxels replace it when the gesture ends. */

import Feature from "ol/Feature";
import { LineString, Point } from "ol/geom";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, Stroke, Style } from "ol/style";
import { toCoordinate } from "./pixel_space";

export class StrokePreview {
	private readonly source = new VectorSource();
	readonly layer = new VectorLayer({ source: this.source, opacity: 0.5, updateWhileInteracting: true });
	private color = "#ffffff";
	private radius = 8;

	look(color: string, radius: number): void {
		this.color = color;
		this.radius = radius;
	}

	/** `resolution`: raster pixels per screen pixel. */
	draw(points: readonly (readonly number[])[], resolution: number): void {
		this.source.clear();
		const coordinates = points.map(toCoordinate);
		const width = (2 * this.radius) / resolution;
		const feature = new Feature(coordinates.length > 1 ? new LineString(coordinates) : new Point(coordinates[0]!));
		feature.setStyle(
			new Style({
				stroke: new Stroke({ color: this.color, width, lineCap: "round", lineJoin: "round" }),
				image: new Circle({ radius: width / 2, fill: new Fill({ color: this.color }) }),
			}),
		);
		this.source.addFeature(feature);
	}

	clear(): void {
		this.source.clear();
	}
}
