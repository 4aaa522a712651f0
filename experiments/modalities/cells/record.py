"""Cells of a table as a sense: each is one element."""

from experiments.data.modality import ColumnKind, Modality
from experiments.modalities.cells.attention import OVER_CELLS
from experiments.modalities.cells.categories import category_cells
from experiments.modalities.cells.dates import date_cells
from experiments.modalities.cells.lists import list_cells
from experiments.modalities.cells.numbers import number_cells
from experiments.modalities.cells.view import Cell, cell_html
from perceiver_jax.cells import CellEmbedding, CellFeatures

CELLS = Modality(
  view=Cell,
  html=cell_html,
  attention=OVER_CELLS,
  is_small=True,
  preprocessors={
    'cell_features': CellFeatures,
    'cell_embedding': CellEmbedding,
  },
  columns={
    'number': ColumnKind(number_cells, 'cell'),
    'category': ColumnKind(category_cells, 'cell'),
    'date': ColumnKind(date_cells, 'cell'),
    'list': ColumnKind(list_cells, 'cell'),
  },
)
