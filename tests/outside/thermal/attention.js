// Thermal pictures are drawn as others are, and say so.
class ThermalPicture extends Picture {
  place(cell) { return `${super.place(cell)}, thermal`; }
}

INPUTS.thermal = ThermalPicture;
