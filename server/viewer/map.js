// The map: two pictures of the mosaic with a border between them, drawn by OpenLayers; marks, boxes and areas above.
import { fetched } from "./ask.js";

const ol = window.ol;
const WORLD = "EPSG:3857";
const DEGREES = "EPSG:4326";
// Displays with more dots than CSS pixels get tiles of twice as many.
const RATIO = devicePixelRatio > 1.25 ? 2 : 1;
const FAILED = 3;
const metres = (box) => ol.proj.transformExtent(box, DEGREES, WORLD);
const degrees = (box) => ol.proj.transformExtent(box, WORLD, DEGREES);

// `busy(is)` and `trouble(error)` say what goes on; `clicked([lon, lat], side)` where somebody asks for a pixel.
export class SwipeMap {
  constructor({ target, labels, labelsAttribution, busy, trouble, clicked, moved }) {
    this.border = 0;
    this.trouble = trouble;
    this.sides = [undefined, undefined];
    this.marks = new ol.source.Vector();
    const line = new ol.style.Stroke({ color: "#ffd54a", width: 3 });
    const dark = new ol.style.Stroke({ color: "#000a", width: 6 });
    const dot = new ol.style.Circle({ radius: 8, stroke: new ol.style.Stroke({ color: "#fff", width: 3 }), fill: new ol.style.Fill({ color: "#d0342c" }) });
    this.style = [new ol.style.Style({ stroke: dark }), new ol.style.Style({ stroke: line, fill: new ol.style.Fill({ color: "#ffd54a22" }), image: dot })];
    const above = [new ol.layer.Vector({ source: this.marks, style: this.style, zIndex: 20 })];
    if (labels) above.push(this.labels(labels, labelsAttribution));
    this.map = new ol.Map({
      target,
      layers: above,
      view: new ol.View({ center: [0, 0], zoom: 2, maxZoom: 19, enableRotation: false, showFullExtent: true }),
      controls: [new ol.control.Zoom(), new ol.control.ScaleLine(), new ol.control.Attribution({ collapsible: false })],
      interactions: ol.interaction.defaults.defaults({ altShiftDragRotate: false, pinchRotate: false }),
    });
    this.map.on("loadstart", () => busy(true));
    this.map.on("loadend", () => busy(false));
    this.map.on("moveend", moved);
    this.map.on("singleclick", ({ coordinate, pixel }) => {
      if (!this.drawing) clicked(ol.proj.toLonLat(coordinate), this.sideAt(pixel[0]));
    });
  }

  // As plain pictures, so that their host need not allow scripts of ours; it does not get our key.
  labels(url, attributions) {
    return new ol.layer.Tile({ zIndex: 10, source: new ol.source.XYZ({ url, attributions }) });
  }

  sideAt(x) {
    return Number(x >= this.border * this.map.getSize()[0]);
  }

  // `border`: 0 to 1 of the width; left of it lies side 0.
  swipe(border) {
    this.border = border;
    this.sides[0]?.forEach((layer) => layer.setVisible(border > 0));
    this.map.render();
  }

  // Shows a TileJSON's picture on a side; what was there stays until the new one is drawn.
  show(side, tiles) {
    const url = tiles.tiles[0].replace("{y}", RATIO > 1 ? "{y}@2x" : "{y}");
    const layer = new ol.layer.Tile({ extent: metres(tiles.bounds), visible: side === 1 || this.border > 0, zIndex: side,
      source: new ol.source.XYZ({ url, tilePixelRatio: RATIO, minZoom: tiles.minzoom, maxZoom: tiles.maxzoom, attributions: tiles.attribution, transition: 0,
        tileLoadFunction: (tile, address) => this.load(tile, address, () => this.sides[side]?.includes(layer)) }) });
    layer.on("prerender", (event) => this.clip(event, side));
    layer.on("postrender", ({ context }) => context.restore());
    const older = this.sides[side] ?? [];
    this.sides[side] = [...older, layer];
    this.map.addLayer(layer);
    return new Promise((drawn) => {
      this.map.once("rendercomplete", () => {
        const late = this.sides[side].indexOf(layer);
        if (late > 0) this.sides[side].splice(0, late).forEach((old) => this.map.removeLayer(old));
        drawn();
      });
    });
  }

  clip({ context, frameState }, side) {
    const [width, height] = frameState.size.map((v) => v * frameState.pixelRatio);
    const edge = this.border * width;
    context.save();
    context.beginPath();
    context.rect(side ? edge : 0, 0, side ? width - edge : edge, height);
    context.clip();
  }

  // `wanted` says whether somebody still looks: nobody waits for the tiles of a picture that is gone.
  async load(tile, address, wanted) {
    const stop = new AbortController();
    const watch = setInterval(() => wanted() || stop.abort(), 500);
    try {
      const answer = await fetched(address, { signal: stop.signal, patient: true });
      const image = tile.getImage();
      image.src = URL.createObjectURL(await answer.blob());
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    } catch (error) {
      tile.setState(FAILED);
      if (!stop.signal.aborted) this.trouble(error);
    } finally {
      clearInterval(watch);
    }
  }

  // Coasts and borders, too coarse for close views, and degrees, where no mosaic says yet where one is; returns what takes them away.
  async orientation() {
    const { default: borders } = await import("./vendor/borders.js");
    const { scale, translate } = borders.transform;
    const lines = borders.arcs.map((arc) => {
      let [x, y] = [0, 0];
      return arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
    });
    const stroke = new ol.style.Stroke({ color: "#7d8f84", width: 1.2 });
    const shape = new ol.geom.MultiLineString(lines).transform(DEGREES, WORLD);
    const coasts = new ol.layer.Vector({ source: new ol.source.Vector({ features: [new ol.Feature(shape)] }), style: new ol.style.Style({ stroke }), maxZoom: 8 });
    const degreesShown = new ol.layer.Graticule({ strokeStyle: new ol.style.Stroke({ color: "#7d8f8466", width: 1 }), showLabels: true, wrapX: false });
    for (const layer of [coasts, degreesShown]) this.map.addLayer(layer);
    return () => [coasts, degreesShown].forEach((layer) => this.map.removeLayer(layer));
  }

  // The view as longitude, latitude and zoom; zooms count from tiles of 512 px, as addresses of earlier releases have them.
  get at() {
    const view = this.map.getView();
    return [...ol.proj.toLonLat(view.getCenter()), view.getZoom() - 1];
  }

  set at([lon, lat, zoom]) {
    this.map.getView().setCenter(ol.proj.fromLonLat([lon, lat]));
    this.map.getView().setZoom(zoom + 1);
  }

  // `closer`: zooms beyond the whole box, for displays of another shape than it has.
  fit(box, padding, closer = 0) {
    const view = this.map.getView();
    view.fit(metres(box), { padding, size: this.map.getSize() });
    if (closer) view.setZoom(view.getZoom() + closer);
  }

  // What is seen, west, south, east, north; with `within` only what of it lies in that box.
  seen(within) {
    const here = degrees(this.map.getView().calculateExtent(this.map.getSize()));
    return within ? [Math.max(here[0], within[0]), Math.max(here[1], within[1]), Math.min(here[2], within[2]), Math.min(here[3], within[3])] : here;
  }

  mark([lon, lat]) {
    this.outlined(new ol.geom.Point(ol.proj.fromLonLat([lon, lat])));
  }

  box(bounds) {
    this.outlined(ol.geom.Polygon.fromExtent(metres(bounds)));
  }

  outlined(geometry) {
    this.marks.clear();
    if (geometry) this.marks.addFeature(new ol.Feature(geometry));
  }

  stopDrawing() {
    if (this.drawing) this.map.removeInteraction(this.drawing);
    this.map.getTargetElement().style.cursor = "";
    this.drawing = undefined;
  }

  // Lets somebody draw with pointer or finger: a box from corner to corner, or an outline. Hands over a GeoJSON geometry.
  draw(kind, done) {
    this.stopDrawing();
    this.outlined();
    const shape = kind === "box" ? { type: "Circle", geometryFunction: ol.interaction.Draw.createBox() } : { type: "Polygon" };
    this.drawing = new ol.interaction.Draw({ source: this.marks, freehand: true, style: this.style, ...shape });
    this.drawing.on("drawend", ({ feature }) => {
      const geometry = feature.getGeometry().clone();
      // The click that ends the drawing asks for no pixel.
      setTimeout(() => {
        this.stopDrawing();
        done(new ol.format.GeoJSON().writeGeometryObject(geometry, { dataProjection: DEGREES, featureProjection: WORLD, decimals: 6 }));
      }, 300);
    });
    this.map.addInteraction(this.drawing);
    this.map.getTargetElement().style.cursor = "crosshair";
  }
}
