// Videos; see attention/drawing.js.

// Frames of a video, in rows of as many as there is room for.
class Frames extends OnCanvas {
  constructor(spec) {
    super(spec);
    [this.times, this.rows, this.columns] = spec.cells;
    this.image = loaded(spec.source);
    this.image.onload = () => this.redraw();
  }

  layout(width) {
    const count = this.spec.frame_cells.length;
    const across = clamp(Math.floor(width / 130), count) || 1;
    const side = width / across;
    return {count, across, side, tall: side * this.spec.aspect};
  }

  height(width) {
    const {count, across, tall} = this.layout(width);
    return Math.ceil(count / across) * tall;
  }

  paint(context, width) {
    const {count, across, side, tall} = this.layout(width);
    const per = this.rows * this.columns;
    for (let i = 0; i < count; i++) {
      const left = (i % across) * side + 1;
      const top = Math.floor(i / across) * tall + 1;
      const [w, h] = [side - 2, tall - 2];
      context.imageSmoothingEnabled = this.spec.smooth;
      if (this.image.complete && this.image.naturalWidth) {
        const wide = this.image.naturalWidth / count;
        context.drawImage(this.image, i * wide, 0, wide,
                          this.image.naturalHeight, left, top, w, h);
      }
      dim(context, left, top, w, h);
      context.imageSmoothingEnabled = false;
      const start = this.spec.frame_cells[i] * per;
      if (this.values) {
        const map = paint(this.columns, this.rows, this.values,
                          (x, y) => start + y * this.columns + x, false);
        context.drawImage(map, left, top, w, h);
      }
      const inside = this.cell - start;
      if (this.cell >= 0 && inside >= 0 && inside < per) {
        outline(context, left + (inside % this.columns) * w / this.columns,
                top + Math.floor(inside / this.columns) * h / this.rows,
                w / this.columns, h / this.rows);
      }
    }
  }

  // The most of all frames at each place.
  thumbnail(values) {
    const per = this.rows * this.columns;
    const most = new Uint8Array(per);
    values.forEach((v, i) => { most[i % per] = Math.max(most[i % per], v); });
    return paint(this.columns, this.rows, most,
                 (x, y) => y * this.columns + x, true);
  }

  cellOf(x, y, width, height) {
    const {count, across, side, tall} = this.layout(width);
    const [column, row] = [x * width / side, y * height / tall];
    const frame = Math.floor(row) * across + Math.floor(column);
    if (frame < 0 || frame >= count) return -1;
    const across_frame = Math.floor((column % 1) * this.columns);
    const down_frame = Math.floor((row % 1) * this.rows);
    return (this.spec.frame_cells[frame] * this.rows + down_frame) *
      this.columns + across_frame;
  }

  step(cell, dx, dy) {
    const at = Math.max(cell, 0);
    const per = this.rows * this.columns;
    let time = Math.floor(at / per);
    let column = at % this.columns + dx;
    const row = clamp(Math.floor(at % per / this.columns) + dy, this.rows - 1);
    if (column < 0 || column >= this.columns) {  // On to the next frame.
      const next = clamp(time + dx, this.times - 1);
      column = next === time ? clamp(column, this.columns - 1)
        : (dx > 0 ? 0 : this.columns - 1);
      time = next;
    }
    return (time * this.rows + row) * this.columns + column;
  }

  place(cell) {
    const per = this.rows * this.columns;
    const time = Math.floor(cell / per);
    const row = Math.floor(cell % per / this.columns);
    const start = time / this.times * this.spec.seconds;
    const when = this.times > 1 ? `${seconds(start)}, ` : '';
    return `${when}row ${row + 1}, column ${cell % this.columns + 1}`;
  }
}

INPUTS.video = Frames;
