/** Vector shapes over a raster: our shapes to OpenLayers features and back, drawn in the colour of their class. */

import Feature from "ol/Feature";
import { type Geometry, LineString, Point, Polygon } from "ol/geom";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, Stroke, Style } from "ol/style";
import type { ShapeRecord } from "../api/types";
import { closed, toCoordinate, toIndex } from "./pixel_space";

export interface ShapeLook {
	readonly color: string;
	readonly name: string;
}

/** Outline of a shape as coordinates; a box has two corners in `points`. */
export function geometryOf(shape: Pick<ShapeRecord, "kind" | "points" | "holes">): Geometry {
	const ring = (points: readonly (readonly number[])[]) => points.map(toCoordinate);
	switch (shape.kind) {
		case "point":
			return new Point(toCoordinate(shape.points[0]!));
		case "polyline":
			return new LineString(ring(shape.points));
		case "polygon":
			return new Polygon([shape.points, ...shape.holes].map((points) => closed(ring(points))));
		case "box": {
			const [a, b] = [toCoordinate(shape.points[0]!), toCoordinate(shape.points[1]!)];
			return new Polygon([closed([a, [b[0], a[1]], b, [a[0], b[1]]])]);
		}
	}
}

/** Points of an edited feature in the form of its kind. */
export function pointsOf(kind: ShapeRecord["kind"], geometry: Geometry): Pick<ShapeRecord, "points" | "holes"> {
	if (geometry instanceof Point) {
		return { points: [toIndex(geometry.getCoordinates())], holes: [] };
	}
	if (geometry instanceof LineString) {
		return { points: geometry.getCoordinates().map(toIndex), holes: [] };
	}
	if (geometry instanceof Polygon) {
		if (kind === "box") {
			const [left, bottom, right, top] = geometry.getExtent() as [number, number, number, number];
			return { points: [toIndex([left, top]), toIndex([right, bottom])], holes: [] };
		}
		// Rings close themselves with us, with OpenLayers they repeat their first point.
		const [outer, ...holes] = geometry.getCoordinates().map((ring) => ring.slice(0, -1).map(toIndex));
		return { points: outer ?? [], holes };
	}
	throw new RangeError("a shape is a point, a line or a polygon");
}

export class ShapeLayer {
	readonly source = new VectorSource<Feature<Geometry>>();
	readonly layer: VectorLayer<VectorSource<Feature<Geometry>>>;
	private look: (label: number) => ShapeLook | null = () => null;
	private selected: string | null = null;

	constructor() {
		this.layer = new VectorLayer({
			source: this.source,
			style: (feature) => this.style(feature as Feature<Geometry>),
			updateWhileInteracting: true,
		});
	}

	/** `look` gives a class's colour and name, `null` hides it. */
	show(shapes: Iterable<ShapeRecord>, look: (label: number) => ShapeLook | null, selected: string | null): void {
		this.look = look;
		this.selected = selected;
		const left = new Set(this.source.getFeatures());
		for (const shape of shapes) {
			const known = this.source.getFeatureById(shape.id) as Feature<Geometry> | null;
			if (known) {
				left.delete(known);
				if (known.get("shape") === shape) {
					continue;
				}
				this.source.removeFeature(known);
			}
			const feature = new Feature(geometryOf(shape));
			feature.setId(shape.id);
			feature.set("shape", shape);
			this.source.addFeature(feature);
		}
		this.source.removeFeatures([...left]);
		this.layer.changed();
	}

	shapeOf(feature: Feature<Geometry>): ShapeRecord | null {
		return (feature.get("shape") as ShapeRecord | undefined) ?? null;
	}

	private style(feature: Feature<Geometry>): Style | undefined {
		const shape = this.shapeOf(feature);
		const look = shape ? this.look(shape.label) : { color: "#ffffff", name: "" };
		if (!look) {
			return undefined;
		}
		const width = feature.getId() === this.selected ? 3.5 : 2;
		const stroke = new Stroke({ color: look.color, width });
		const fill = new Fill({ color: `${look.color}22` });
		return new Style({
			stroke,
			fill,
			image: new Circle({ radius: 5, stroke, fill: new Fill({ color: `${look.color}88` }) }),
		});
	}
}
