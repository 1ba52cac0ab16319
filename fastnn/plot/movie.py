"""How decision regions grow, as a GIF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..checks import Array, path as checked_path, positive_integer, positive_number
from ..extras import needs
from ..training.callbacks import Callback, Logs
from .canvas import axes_for
from .regions import Plane


class RegionMovie(Callback):
    """A callback that keeps the decision regions of a network after its epochs, and writes them as a GIF.

    An image takes ``3 * resolution**2`` bytes. A `Checkpoint` does not keep them.

    Parameters
    ----------
    X, y, bounds
        As in `decision_regions`.
    resolution : int, default 100
        Points of the grid on each side.
    every : int, default 1
        An image after every so many epochs, and one after the first.

    Attributes
    ----------
    epochs : list of int
        Those that have an image, since the last fit began.

    Raises
    ------
    ValueError, TypeError
        As `decision_regions`, where `fit` begins if the network does not fit.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from fastnn import mlp, plot
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> movie = plot.RegionMovie(X, (X[:, 0] > 0).astype(int), every=2)
    >>> net = mlp([2, 4, 2], loss="cross_entropy", seed=0)
    >>> history = net.fit(X, movie.y, epochs=5, seed=0, callbacks=[movie])
    >>> movie.epochs
    [1, 2, 4]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     movie.save(os.path.join(folder, "regions.gif"), fps=5)
    ...     os.listdir(folder)
    ['regions.gif']
    """

    checked = {"every": positive_integer}

    def __init__(
        self,
        X: Any = None,
        y: Any = None,
        *,
        bounds: Sequence[float] | None = None,
        resolution: int = 100,
        every: int = 1,
    ) -> None:
        self.every = every
        self.plane = Plane(X, y, bounds, resolution)
        self.epochs: list[int] = []
        self._images: list[Array] = []
        self._captions: list[str] = []

    @property
    def y(self) -> Array | None:
        """The classes of the samples."""
        return self.plane.labels

    def on_train_begin(self) -> None:
        self.epochs, self._images, self._captions = [], [], []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if epoch % self.every == 0 or not self.epochs:
            self._images.append(self.plane.image(self.net))
            self.epochs.append(epoch)
            self._captions.append(f"epoch {epoch}, {self.monitored} {logs[self.monitored]:.3g}")

    def draw(self, index: int = -1, ax: Any = None) -> Any:
        """Draw image number `index`, by default the last one, and return the matplotlib Axes."""
        if not -len(self.epochs) <= index < len(self.epochs):
            raise IndexError(f"index is {index}; there are {len(self.epochs)} images. Has fit had this callback?")
        ax = self.plane.draw(axes_for(ax, "RegionMovie"), self._images[index], self.net)
        ax.set_title(self._captions[index])
        return ax

    def save(self, path: str | os.PathLike[str], fps: float = 8, size: float = 4.0, dpi: float = 80) -> None:
        """Write the images as an animated GIF that repeats; the last one stays for two seconds.

        Parameters
        ----------
        path : str or path
            The file, ``*.gif``.
        fps : float, default 8
            Images a second.
        size, dpi : float
            Its side in inches, and pixels to an inch.

        Raises
        ------
        ValueError
            If there is no image yet, or the path does not end in .gif.
        OSError
            If the file cannot be written.
        """
        place = checked_path(path, "path")
        if place.suffix.lower() != ".gif":
            raise ValueError(f"path is {str(place)!r}; expected a file that ends in .gif")
        fps, side = positive_number(fps, "fps"), positive_number(size, "size")
        positive_number(dpi, "dpi")
        if not self.epochs:
            raise ValueError("there is no image to save; call net.fit(..., callbacks=[movie]) first")
        animation = needs("matplotlib.animation", "fastnn.plot.RegionMovie", "matplotlib")
        figure = needs("matplotlib.figure", "fastnn.plot.RegionMovie", "matplotlib").Figure((side, side))
        needs("matplotlib.backends.backend_agg", "fastnn.plot.RegionMovie", "matplotlib").FigureCanvasAgg(figure)
        ax = self.draw(0, figure.subplots())
        figure.tight_layout()
        writer = animation.PillowWriter(fps=fps)
        with writer.saving(figure, str(place), dpi):
            for image, caption in zip(self._images, self._captions):
                ax.images[0].set_data(image)
                ax.set_title(caption)
                writer.grab_frame()
            for _ in range(round(2 * fps)):
                writer.grab_frame()
