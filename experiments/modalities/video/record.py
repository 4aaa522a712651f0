"""Video as a sense. Its patches are those of images."""

from experiments.data.modality import Modality
from experiments.modalities.video.attention import OVER_VIDEOS
from experiments.modalities.video.classical import CHANGES
from experiments.modalities.video.folder import video_folder
from experiments.modalities.video.view import Video, video_html

VIDEOS = Modality(
  view=Video,
  html=video_html,
  attention=OVER_VIDEOS,
  is_small=True,
  folders={'video_folder': video_folder},
  classical=CHANGES,
)
