// The sheet: shows drawing and colours, takes strokes, taps and the keyboard's cross. Knows nothing of the server.

const TAP = 5; // pixels that a pointer may move in a tap
const GRIP = 22; // pixels around the divider that take hold of it
const PEN = 4;
const BLANK = { width: 1200, height: 900 };
const DOUBT = [214, 92, 20];

export class Stage {
  constructor(sheet, picture, overlay) {
    Object.assign(this, { sheet, picture, overlay, strokes: [], share: 1, radius: 7, color: "#000000", drawing: false });
    this.onstroke = this.ontap = this.onsplit = () => {};
    for (const [name, take] of Object.entries({ pointerdown: "down", pointermove: "move", pointerup: "up", pointercancel: "cancel" })) {
      overlay.addEventListener(name, (event) => this[take](event));
    }
    overlay.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.fit()).observe(sheet.parentElement);
  }

  // What is shown ----------------------------------------------------------------------------------------------------

  open(before) {
    Object.assign(this, { before, colored: null, doubts: null, strokes: [], cross: null, share: 0 });
    this.size = before ? { width: before.width, height: before.height } : BLANK;
    this.fit();
  }

  blank() {
    this.open(null);
  }

  show(before, colored, wipe) {
    Object.assign(this, { before, colored, strokes: [] });
    this.size = { width: colored.width, height: colored.height };
    this.fit();
    if (wipe) this.wipe();
  }

  /** Colours run over the drawing once, so that it is seen what happened. */
  wipe() {
    const start = performance.now();
    const duration = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 900;
    const step = (now) => {
      const time = Math.min(1, Math.max(0, (now - start) / duration));
      this.split(1 - (1 - time) ** 3);
      this.onsplit(this.share);
      if (time < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  split(share) {
    this.share = share;
    this.paint();
  }

  doubt(map) {
    this.doubts = map;
    this.paint();
  }

  mark(x, y) {
    this.cross = x === null ? null : [x, y];
    this.paintOverlay();
  }

  // Sizes ------------------------------------------------------------------------------------------------------------

  fit() {
    if (!this.size) return;
    const room = this.sheet.parentElement.getBoundingClientRect();
    const zoom = Math.min((room.width - 24) / this.size.width, (room.height - 24) / this.size.height);
    if (!(zoom > 0)) return;
    const [width, height] = [Math.max(1, Math.round(this.size.width * zoom)), Math.max(1, Math.round(this.size.height * zoom))];
    this.sheet.style.width = `${width}px`;
    this.sheet.style.height = `${height}px`;
    this.zoom = width / this.size.width;
    for (const canvas of [this.picture, this.overlay]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.paint();
  }

  toPicture(length) {
    return Math.max(0.5, length / this.zoom);
  }

  /** Style that puts something on a point of the picture. */
  percent(x, y) {
    return `left: ${(100 * (x + 0.5)) / this.size.width}%; top: ${(100 * (y + 0.5)) / this.size.height}%`;
  }

  /** Put a box beside a point, inside the stage. */
  place(box, x, y) {
    const [sheet, room] = [this.sheet.getBoundingClientRect(), this.sheet.parentElement.getBoundingClientRect()];
    const [left, top] = [x * this.zoom, y * this.zoom];
    const below = sheet.top + top + 24 + box.offsetHeight < room.bottom;
    const inside = (value, low, high) => Math.max(low, Math.min(value, high));
    box.style.left = `${inside(left - box.offsetWidth / 2, room.left - sheet.left + 8, room.right - sheet.left - box.offsetWidth - 8)}px`;
    box.style.top = `${inside(below ? top + 24 : top - 24 - box.offsetHeight, room.top - sheet.top + 8, room.bottom - sheet.top - box.offsetHeight - 8)}px`;
  }

  // Painting the canvases --------------------------------------------------------------------------------------------

  paint() {
    const pen = this.picture.getContext("2d");
    const { width, height } = this.picture;
    const edge = Math.round(width * this.share);
    pen.imageSmoothingQuality = "high";
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, width, height);
    if (this.before && (edge < width || !this.colored)) pen.drawImage(this.before, 0, 0, width, height);
    if (this.colored && edge > 0) {
      pen.save();
      pen.beginPath();
      pen.rect(0, 0, edge, height);
      pen.clip();
      pen.drawImage(this.colored, 0, 0, width, height);
      pen.restore();
    }
    if (this.doubts) pen.drawImage(this.shade(width, height), 0, 0);
    this.paintOverlay();
  }

  /** The map of doubts as a shade: the darker, the less sure. */
  shade(width, height) {
    const canvas = new OffscreenCanvas(width, height);
    const pen = canvas.getContext("2d");
    pen.drawImage(this.doubts, 0, 0, width, height);
    const pixels = pen.getImageData(0, 0, width, height);
    let most = 1;
    for (let i = 0; i < pixels.data.length; i += 4) most = Math.max(most, pixels.data[i]);
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([...DOUBT, 170 * (pixels.data[i] / most) ** 2], i);
    pen.putImageData(pixels, 0, 0);
    return canvas;
  }

  paintOverlay() {
    const pen = this.overlay.getContext("2d");
    pen.clearRect(0, 0, this.overlay.width, this.overlay.height);
    pen.save();
    pen.scale(devicePixelRatio, devicePixelRatio);
    for (const stroke of this.strokes) this.line(pen, stroke, this.zoom);
    if (this.colored && this.share < 1) this.divider(pen);
    if (this.cross) this.crosshair(pen, ...this.cross.map((value) => value * this.zoom));
    pen.restore();
  }

  line(pen, { points, color, radius }, zoom) {
    Object.assign(pen, { strokeStyle: color, lineWidth: 2 * radius * zoom, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(points[0][0] * zoom + 0.01, points[0][1] * zoom); // so that a single point is drawn too
    for (const [x, y] of points) pen.lineTo(x * zoom, y * zoom);
    pen.stroke();
  }

  divider(pen) {
    const [x, height] = [this.share * this.size.width * this.zoom, this.size.height * this.zoom];
    Object.assign(pen, { strokeStyle: "#ffffff", lineWidth: 3, shadowColor: "rgb(0 0 0 / 45%)", shadowBlur: 4 });
    pen.beginPath();
    pen.moveTo(x, 0);
    pen.lineTo(x, height);
    pen.stroke();
    pen.fillStyle = "#ffffff";
    pen.beginPath();
    pen.arc(x, height / 2, 15, 0, 7);
    pen.fill();
    Object.assign(pen, { shadowBlur: 0, strokeStyle: "#2b2622", lineWidth: 2 });
    for (const side of [-1, 1]) {
      pen.beginPath();
      pen.moveTo(x + side * 4, height / 2 - 4);
      pen.lineTo(x + side * 8, height / 2);
      pen.lineTo(x + side * 4, height / 2 + 4);
      pen.stroke();
    }
  }

  crosshair(pen, x, y) {
    for (const [color, width] of [["#ffffff", 5], ["#2b2622", 2]]) {
      Object.assign(pen, { strokeStyle: color, lineWidth: width });
      pen.beginPath();
      pen.arc(x, y, 9, 0, 7);
      pen.stroke();
    }
  }

  // Pointer and keyboard ---------------------------------------------------------------------------------------------

  at(event) {
    const box = this.overlay.getBoundingClientRect();
    const inside = (value, most) => Math.max(0, Math.min(most - 0.51, value));
    return [
      inside((event.clientX - box.left) / this.zoom, this.size.width),
      inside((event.clientY - box.top) / this.zoom, this.size.height),
    ];
  }

  down(event) {
    if (event.button || this.active) return;
    this.overlay.setPointerCapture(event.pointerId);
    this.cross = null;
    const point = this.at(event);
    const onGrip = this.colored && this.share < 1 && Math.abs(point[0] - this.share * this.size.width) * this.zoom < GRIP;
    this.active = onGrip ? { grip: true } : { points: [point], from: [event.clientX, event.clientY] };
  }

  move(event) {
    const point = this.size && this.at(event);
    if (!this.active) {
      const near = this.colored && this.share < 1 && Math.abs(point[0] - this.share * this.size.width) * this.zoom < GRIP;
      return this.overlay.classList.toggle("split", Boolean(near));
    }
    if (this.active.grip) {
      this.split(point[0] / this.size.width);
      return this.onsplit(this.share);
    }
    const { from, points } = this.active;
    if (!this.active.stroke && Math.hypot(event.clientX - from[0], event.clientY - from[1]) > TAP) this.begin(this.active);
    points.push(point);
    if (this.active.stroke) this.paintOverlay();
  }

  begin(active) {
    const [color, radius] = this.drawing ? ["#000000", PEN / 2 / this.zoom] : [this.color, this.toPicture(this.radius)];
    active.stroke = { points: active.points, color, radius };
    this.strokes.push(active.stroke);
  }

  up() {
    const done = this.active;
    this.active = null;
    if (!done || done.grip) return;
    if (this.drawing) {
      if (!done.stroke) this.begin(done);
      return this.paintOverlay();
    }
    if (done.stroke) this.onstroke(spread(done.points, done.stroke.radius / 2));
    else if (this.colored) this.ontap(...done.points[0].map(Math.floor));
  }

  cancel() {
    if (this.active?.stroke) this.strokes.pop();
    this.active = null;
    this.paintOverlay();
  }

  key(event) {
    if (!this.size || !this.colored) return;
    const step = (event.shiftKey ? 0.1 : 0.02) * Math.max(this.size.width, this.size.height);
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    const [x, y] = this.cross ?? [this.size.width / 2, this.size.height / 2].map(Math.floor);
    if (way) {
      const inside = (value, most) => Math.round(Math.max(0, Math.min(most - 1, value)));
      this.mark(inside(x + way[0], this.size.width), inside(y + way[1], this.size.height));
    } else if (event.key === "Enter") this.ontap(x, y);
    else if (event.key === " ") this.onstroke([[x, y]]);
    else return;
    event.preventDefault();
  }

  // Drawing by hand --------------------------------------------------------------------------------------------------

  unpaint() {
    this.strokes.pop();
    this.paintOverlay();
  }

  /** What was drawn, black on white, as a PNG. */
  async export() {
    const canvas = new OffscreenCanvas(this.size.width, this.size.height);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    for (const stroke of this.strokes) this.line(pen, stroke, 1);
    return canvas.convertToBlob({ type: "image/png" });
  }
}

/** Points along a path, so near each other that dabs on them make a stroke. */
function spread(points, gap) {
  const dabs = [points[0]];
  for (let i = 1; i < points.length; i++) {
    const [[x, y], [nextX, nextY]] = [points[i - 1], points[i]];
    const count = Math.ceil(Math.hypot(nextX - x, nextY - y) / gap);
    for (let part = 1; part <= count; part++) dabs.push([x + ((nextX - x) * part) / count, y + ((nextY - y) * part) / count]);
  }
  return dabs;
}
