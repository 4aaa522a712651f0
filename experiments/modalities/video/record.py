"""Video as a sense. Its patches are those of images."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.files.media import VIDEO_EXTENSIONS
from experiments.modalities.video.attention import OVER_VIDEOS
from experiments.modalities.video.classical import CHANGES
from experiments.modalities.video.folder import video_files
from experiments.modalities.video.view import Video, video_html

VIDEOS = Modality(
  view=Video,
  html=video_html,
  attention=OVER_VIDEOS,
  is_small=True,
  folders={'video_folder': folder_of(video_files, VIDEO_EXTENSIONS)},
  columns={
    'video': ColumnKind(video_files, 'video', extensions=VIDEO_EXTENSIONS)
  },
  classical=CHANGES,
)
