// SPDX-License-Identifier: Apache-2.0
// Viewers of volumes: three planes that the reader scrolls, zooms and windows; nothing is fetched.
"use strict";

(() => {
  const ACROSS = [[1, 2], [0, 2], [0, 1]]; // axes of each plane: to the right, and up
  const MOST_ZOOM = 8;
  const FLICKER = 600; // milliseconds that an image stands: fewer than three flashes a second
  const SHARP = 7; // pixels of a voxel from which on it is drawn as a square
  const STILL = 300; // milliseconds after which what is shown is kept for paper

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const line = (pen, x, y, toX, toY) => (pen.moveTo(x, y), pen.lineTo(toX, toY));

  /** The grey levels of one image, or the labels of a mask, as they lie in a mosaic of planes. */
  async function levelsOf(picture, shape) {
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const read = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const [nx, ny, nz] = shape;
    const tile = [Math.ceil(nx / 8) * 8, Math.ceil(ny / 8) * 8];
    const columns = canvas.width / tile[0];
    const levels = new Uint8Array(nx * ny * nz);
    for (let z = 0, to = 0; z < nz; z++) {
      const left = (z % columns) * tile[0],
        top = Math.floor(z / columns) * tile[1];
      for (let y = 0; y < ny; y++) {
        let from = 4 * ((top + y) * canvas.width + left);
        for (let x = 0; x < nx; x++, from += 4) levels[to++] = read[from];
      }
    }
    return levels;
  }

  /** A function that gives the level at a voxel of the viewer's grid. */
  function sampler(levels, shape, axis, places) {
    const [nx, ny] = shape;
    if (!places) return (i, j, k) => levels[i + nx * (j + ny * k)];
    const place = (n, along) => (along === axis ? places[n] : n);
    return (i, j, k) => levels[place(i, 0) + nx * (place(j, 1) + ny * place(k, 2))];
  }

  async function start(root) {
    const about = JSON.parse(root.querySelector(".viewer-facts").textContent);
    const pictures = [...root.querySelectorAll(".viewer-levels")];
    const layers = [...about.images, ...(about.labels.length ? [{ shape: about.shape }] : [])];
    const read = await Promise.all(layers.map((each, n) => levelsOf(pictures[n], each.shape)));
    for (const picture of pictures) picture.remove(); // the levels are what is needed of them
    const at = layers.map((each, n) => sampler(read[n], each.shape, each.axis, each.places));
    new Viewer(root, about, at);
  }

  class Viewer {
    constructor(root, about, samplers) {
      Object.assign(this, about, { root });
      this.samplers = samplers.slice(0, about.images.length);
      this.labelAt = samplers[about.images.length] ?? null;
      this.size = this.shape.map((count, axis) => count * this.spacing[axis]);
      this.start = [...about.at];
      this.canvases = [...root.querySelectorAll("canvas")];
      this.printed = [...root.querySelectorAll(".viewer-printed")];
      this.sliders = [...root.querySelectorAll(".viewer-slice")];
      this.image = 0;
      this.timer = 0;
      this.colours = new Map(this.labels.map((each) => [each.value, each.colour]));
      this.listen();
      this.reset();
      new ResizeObserver(() => this.draw()).observe(root);
      root.dataset.ready = "1";
    }

    control(name) {
      return this.root.querySelector(`[data-control="${name}"]`);
    }

    reset() {
      this.at = [...this.start];
      this.zoom = 1;
      this.centre = this.size.map((length) => length / 2);
      for (const name of ["black", "white", "opacity", "outline", "mirror"]) {
        const one = this.control(name);
        if (one) [one.value, one.checked] = [one.defaultValue, one.defaultChecked];
      }
      this.showImage(this.image);
    }

    // ---- what the reader does ----

    listen() {
      for (const [plane, canvas] of this.canvases.entries()) this.listenTo(canvas, plane);
      for (const [axis, slider] of this.sliders.entries())
        slider.addEventListener("input", () => this.moveTo(axis, Number(slider.value)));
      for (const name of ["black", "white", "opacity", "outline", "mirror"])
        this.control(name)?.addEventListener("input", () => this.draw());
      this.control("zoom").addEventListener("input", (event) => this.zoomTo(Number(event.target.value)));
      this.control("reset").addEventListener("click", () => this.reset());
      this.control("planes").addEventListener("input", (event) => {
        this.root.dataset.plane = event.target.value;
        this.draw();
      });
      this.control("flicker")?.addEventListener("click", () => this.flicker());
      for (const radio of this.root.querySelectorAll("[data-image]"))
        radio.addEventListener("input", () => this.showImage(Number(radio.dataset.image)));
    }

    listenTo(canvas, plane) {
      let held = null;
      canvas.addEventListener("pointerdown", (event) => {
        held = event;
        canvas.setPointerCapture(event.pointerId);
        if (!event.shiftKey) this.pointAt(event, plane);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (held && event.shiftKey) this.pan(event, plane);
        else if (held) this.pointAt(event, plane);
        else this.tell(this.voxelAt(event, plane));
      });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
      canvas.addEventListener("pointerleave", () => this.tell(this.at));
      canvas.addEventListener("keydown", (event) => this.press(event, plane));
      canvas.addEventListener(
        "wheel",
        (event) => {
          // Until it is clicked, the wheel scrolls the page.
          if (document.activeElement !== canvas) return;
          event.preventDefault();
          const up = event.deltaY < 0 ? 1 : -1;
          if (event.ctrlKey) this.zoomTo(this.zoom * (up > 0 ? 1.15 : 1 / 1.15));
          else this.moveTo(plane, this.at[plane] + up);
        },
        { passive: false },
      );
    }

    press(event, plane) {
      const [right, up] = ACROSS[plane],
        way = this.way(plane);
      const acts = {
        ArrowLeft: () => this.moveTo(right, this.at[right] - way),
        ArrowRight: () => this.moveTo(right, this.at[right] + way),
        ArrowUp: () => this.moveTo(up, this.at[up] + 1),
        ArrowDown: () => this.moveTo(up, this.at[up] - 1),
        PageUp: () => this.moveTo(plane, this.at[plane] + 1),
        PageDown: () => this.moveTo(plane, this.at[plane] - 1),
        "+": () => this.zoomTo(this.zoom * 1.25),
        "-": () => this.zoomTo(this.zoom / 1.25),
        0: () => this.reset(),
        f: () => this.showImage((this.image + 1) % this.images.length),
      };
      if (!acts[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      acts[event.key]();
    }

    /** Show the first two images by turns, until it is pressed again. */
    flicker() {
      const button = this.control("flicker"),
        on = !this.timer;
      clearInterval(this.timer);
      this.timer = on ? setInterval(() => this.showImage(this.image ? 0 : 1), FLICKER) : 0;
      button.setAttribute("aria-pressed", String(on));
    }

    showImage(number) {
      this.image = number;
      const radio = this.root.querySelector(`[data-image="${number}"]`);
      if (radio) radio.checked = true;
      this.draw();
    }

    moveTo(axis, voxel) {
      this.at[axis] = clamp(Math.round(voxel), 0, this.shape[axis] - 1);
      this.draw();
    }

    /** Zoom around the crosshair, which stays where it is. */
    zoomTo(zoom) {
      const next = clamp(zoom, 1, MOST_ZOOM);
      for (const axis of [0, 1, 2]) {
        const here = (this.at[axis] + 0.5) * this.spacing[axis];
        this.centre[axis] = here + ((this.centre[axis] - here) * this.zoom) / next;
      }
      this.zoom = next;
      this.draw();
    }

    pointAt(event, plane) {
      const voxel = this.voxelAt(event, plane);
      for (const axis of ACROSS[plane]) this.at[axis] = voxel[axis];
      this.draw();
    }

    pan(event, plane) {
      const [right, up] = ACROSS[plane],
        scale = this.scaleOf(this.canvases[plane], plane) / this.density(this.canvases[plane]);
      this.centre[right] -= (this.way(plane) * event.movementX) / scale;
      this.centre[up] += event.movementY / scale;
      this.draw();
    }

    // ---- where things are ----

    /** 1 where the first axis of a plane grows to the right, -1 where the reader wants it mirrored. */
    way(plane) {
      return ACROSS[plane][0] === 0 && this.control("mirror")?.checked ? -1 : 1;
    }

    density(canvas) {
      return canvas.width / Math.max(1, canvas.clientWidth);
    }

    /** Pixels of the canvas per millimetre. */
    scaleOf(canvas, plane) {
      return (canvas.width / this.size[ACROSS[plane][0]]) * this.zoom;
    }

    voxelAt(event, plane) {
      const canvas = this.canvases[plane],
        box = canvas.getBoundingClientRect(),
        scale = this.scaleOf(canvas, plane) / this.density(canvas),
        [right, up] = ACROSS[plane],
        found = [...this.at];
      const x = this.centre[right] + (this.way(plane) * (event.clientX - box.left - box.width / 2)) / scale,
        y = this.centre[up] - (event.clientY - box.top - box.height / 2) / scale;
      found[right] = clamp(Math.floor(x / this.spacing[right]), 0, this.shape[right] - 1);
      found[up] = clamp(Math.floor(y / this.spacing[up]), 0, this.shape[up] - 1);
      return found;
    }

    // ---- what is drawn ----

    draw() {
      for (const axis of [0, 1, 2]) {
        const half = this.size[axis] / (2 * this.zoom);
        this.centre[axis] = clamp(this.centre[axis], half, this.size[axis] - half);
        this.sliders[axis].value = this.at[axis];
        this.sliders[axis].nextElementSibling.textContent = `${this.at[axis] + 1} of ${this.shape[axis]}`;
      }
      this.control("zoom").value = this.zoom;
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(() => {
        for (const [plane, canvas] of this.canvases.entries()) this.drawPlane(canvas, plane);
        this.tell(this.at);
        clearTimeout(this.still);
        this.still = setTimeout(() => this.keep(), STILL);
      });
    }

    /** Keep what is shown as pictures, since browsers print canvases as they like. */
    keep() {
      for (const [plane, canvas] of this.canvases.entries())
        if (canvas.clientWidth) this.printed[plane].src = canvas.toDataURL("image/jpeg", 0.9);
      this.root.dataset.kept = "1";
    }

    drawPlane(canvas, plane) {
      const [right, up] = ACROSS[plane],
        width = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
      if (!width) return;
      const height = Math.max(1, Math.round((width * this.size[up]) / this.size[right]));
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const pen = canvas.getContext("2d"),
        scale = this.scaleOf(canvas, plane);
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, width, height);
      if (this.way(plane) < 0) pen.setTransform(-1, 0, 0, 1, width, 0);
      const left = width / 2 - this.centre[right] * scale,
        bottom = height / 2 + this.centre[up] * scale;
      const wide = this.size[right] * scale,
        high = this.size[up] * scale;
      pen.imageSmoothingEnabled = Math.min(this.spacing[right], this.spacing[up]) * scale < SHARP;
      pen.imageSmoothingQuality = "high";
      pen.drawImage(this.slice(plane), left, bottom - high, wide, high);
      if (this.control("outline")?.checked) this.drawOutlines(pen, plane, left, bottom, scale);
      this.drawCrosshair(pen, plane, left, bottom, scale);
    }

    /** The slice through the crosshair in its window, with the labels laid over it, voxel by voxel. */
    slice(plane) {
      const [right, up] = ACROSS[plane],
        wide = this.shape[right],
        high = this.shape[up];
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [wide, high];
      const pen = canvas.getContext("2d"),
        drawn = pen.createImageData(wide, high),
        grey = this.window(),
        level = this.samplers[this.image],
        share = Number(this.control("opacity")?.value ?? 0) / 100,
        voxel = [...this.at];
      for (let row = 0, to = 0; row < high; row++) {
        voxel[up] = high - 1 - row;
        for (let column = 0; column < wide; column++, to += 4) {
          voxel[right] = column;
          const shade = grey[level(voxel[0], voxel[1], voxel[2])];
          const colour = share && this.colours.get(this.labelAt(voxel[0], voxel[1], voxel[2]));
          for (let channel = 0; channel < 3; channel++)
            drawn.data[to + channel] = colour ? shade + share * (colour[channel] - shade) : shade;
          drawn.data[to + 3] = 255;
        }
      }
      pen.putImageData(drawn, 0, 0);
      return canvas;
    }

    /** The shade of each of the 256 levels of the image that is shown. */
    window() {
      const about = this.images[this.image],
        black = Number(this.control("black").value) / 100,
        white = Number(this.control("white").value) / 100;
      // Both are shares of the image's own window, so that images of several scales stay alike.
      const span = about.white - about.black,
        low = about.black + black * span,
        high = about.black + white * span;
      const step = (about.high - about.low) / 255;
      return Uint8ClampedArray.from({ length: 256 }, (_, level) => {
        const value = about.low + level * step;
        return high > low ? (255 * (value - low)) / (high - low) : value > low ? 255 : 0;
      });
    }

    /** Lines along the sides of voxels at which a label ends. */
    drawOutlines(pen, plane, left, bottom, scale) {
      const [right, up] = ACROSS[plane],
        step = [this.spacing[right] * scale, this.spacing[up] * scale],
        voxel = [...this.at];
      const labelOf = (column, row) => {
        if (column < 0 || row < 0 || column >= this.shape[right] || row >= this.shape[up]) return 0;
        [voxel[right], voxel[up]] = [column, row];
        return this.labelAt(voxel[0], voxel[1], voxel[2]);
      };
      for (const [label, colour] of this.colours) {
        pen.beginPath();
        for (let row = 0; row < this.shape[up]; row++)
          for (let column = 0; column < this.shape[right]; column++) {
            if (labelOf(column, row) !== label) continue;
            const x = left + column * step[0],
              y = bottom - row * step[1];
            const sides = [
              [column - 1, row, x, y, x, y - step[1]],
              [column + 1, row, x + step[0], y, x + step[0], y - step[1]],
              [column, row - 1, x, y, x + step[0], y],
              [column, row + 1, x, y - step[1], x + step[0], y - step[1]],
            ];
            for (const [beside, above, ...ends] of sides) if (labelOf(beside, above) !== label) line(pen, ...ends);
          }
        pen.lineWidth = 1.5 * (window.devicePixelRatio || 1);
        pen.strokeStyle = `rgb(${colour})`;
        pen.stroke();
      }
    }

    drawCrosshair(pen, plane, left, bottom, scale) {
      const [right, up] = ACROSS[plane],
        { width, height } = pen.canvas,
        density = window.devicePixelRatio || 1,
        x = left + (this.at[right] + 0.5) * this.spacing[right] * scale,
        y = bottom - (this.at[up] + 0.5) * this.spacing[up] * scale;
      pen.strokeStyle = "rgba(255, 255, 255, 0.45)";
      pen.lineWidth = density;
      pen.beginPath();
      // Open in the middle, so that the voxel itself is seen.
      const open = 8 * density;
      line(pen, 0, y, x - open, y);
      line(pen, x + open, y, width, y);
      line(pen, x, 0, x, y - open);
      line(pen, x, y + open, x, height);
      pen.stroke();
      const sides = this.way(plane) < 0 ? [...this.sides[plane]].reverse() : this.sides[plane];
      pen.resetTransform();
      pen.font = `${13 * density}px sans-serif`;
      pen.fillStyle = "#c8c8c8";
      pen.fillText(sides[0], 6 * density, height - 8 * density);
      pen.textAlign = "right";
      pen.fillText(sides[1], width - 6 * density, height - 8 * density);
      pen.textAlign = "left";
    }

    /** Say what is at a voxel: where it is in the scanner's millimetres, its value, its label. */
    tell(voxel) {
      const place = this.affine.map(([x, y, z, from]) =>
        (x * voxel[0] + y * voxel[1] + z * voxel[2] + from).toFixed(this.decimals).replace(/^-(0\.?0*)$/, "$1"),
      );
      const about = this.images[this.image],
        level = this.samplers[this.image](...voxel),
        value = about.low + (level / 255) * (about.high - about.low);
      const label = this.labels.find((each) => each.value === this.labelAt?.(...voxel));
      const said = [`x ${place[0]}, y ${place[1]}, z ${place[2]} ${this.unit}`, `about ${Number(value.toPrecision(3))}`];
      if (this.labels.length) said.push(label ? label.name : this.outside);
      this.root.querySelector(".viewer-said").textContent = said.join(" · ");
    }
  }

  const viewers = [...document.querySelectorAll(".viewer")];
  Promise.all(viewers.map(start)).finally(() => (document.documentElement.dataset.ready = "1"));
})();
