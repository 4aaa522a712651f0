// Inputs of rows and columns, such as images and spectrograms; see
// attention/drawing.js.

// A picture of rows and columns: an image, or a spectrogram.
class Picture extends OnCanvas {
  constructor(spec) {
    super(spec);
    [this.rows, this.columns] = spec.rows_columns;
    this.image = loaded(spec.source);
    this.image.onload = () => this.redraw();
  }

  height(width) {
    return Math.min(width * this.spec.aspect, 0.75 * window.innerHeight);
  }

  // The picture in the middle of the canvas: left, top, width, height.
  frame(width, height) {
    if (this.spec.kind === 'spectrogram') return [0, 0, width, height];
    const side = Math.min(width, height / this.spec.aspect);
    return [(width - side) / 2, 0, side, side * this.spec.aspect];
  }

  cellIndex(row, column) {
    // Of a spectrogram time comes first, and low bands are at the bottom.
    return this.spec.kind === 'spectrogram'
      ? column * this.rows + (this.rows - 1 - row)
      : row * this.columns + column;
  }

  rowColumn(cell) {
    return this.spec.kind === 'spectrogram'
      ? [this.rows - 1 - cell % this.rows, Math.floor(cell / this.rows)]
      : [Math.floor(cell / this.columns), cell % this.columns];
  }

  paint(context, width, height) {
    const [left, top, w, h] = this.frame(width, height);
    context.imageSmoothingEnabled = this.spec.smooth;
    if (this.image.complete) context.drawImage(this.image, left, top, w, h);
    dim(context, left, top, w, h);
    context.imageSmoothingEnabled = false;
    if (this.values) {
      context.drawImage(this.map(false), left, top, w, h);
    }
    if (this.cell >= 0) {
      const [row, column] = this.rowColumn(this.cell);
      outline(context, left + column * w / this.columns,
              top + row * h / this.rows, w / this.columns, h / this.rows);
    }
  }

  map(opaque, values = this.values) {
    return paint(this.columns, this.rows, values,
                 (x, y) => this.cellIndex(y, x), opaque);
  }

  thumbnail(values) {
    const canvas = this.map(true, values);
    canvas.style.aspectRatio = 1 / Math.max(this.spec.aspect, 0.6);
    return canvas;
  }

  cellOf(x, y, width, height) {
    const [left, top, w, h] = this.frame(width, height);
    const column = Math.floor((x * width - left) / w * this.columns);
    const row = Math.floor((y * height - top) / h * this.rows);
    const inside = column >= 0 && column < this.columns && row >= 0 &&
      row < this.rows;
    return inside ? this.cellIndex(row, column) : -1;
  }

  step(cell, dx, dy) {
    const [row, column] = this.rowColumn(Math.max(cell, 0));
    return this.cellIndex(clamp(row + dy, this.rows - 1),
                          clamp(column + dx, this.columns - 1));
  }

  place(cell) {
    const [row, column] = this.rowColumn(cell);
    if (this.spec.kind !== 'spectrogram') {
      return `row ${row + 1}, column ${column + 1} of ` +
        `${this.rows} × ${this.columns}`;
    }
    const time = seconds(column / this.columns * this.spec.seconds);
    return `${time}, band ${this.rows - row} of ${this.rows}`;
  }
}

INPUTS.image = INPUTS.spectrogram = Picture;
