"""s2cloudless and ukis-csmask on images, in an environment of their own: `PYTHON benchmarks/anchors.py IN.npz OUT.npz`.

Neither package is a dependency of the product. Once, anywhere outside the project:

    python3 -m venv anchors
    anchors/bin/pip install s2cloudless==1.7.3 ukis-csmask==1.0.0 onnxruntime

IN.npz holds one array an image, (band, row, col) float32 reflectance at the top of the atmosphere, of 13 bands in the order of wavelength or
of the six B02 B03 B04 B08 B11 B12, which s2cloudless cannot use. OUT.npz holds for each `NAME.s2cloudless`, the probability of cloud averaged as the
package does, and `NAME.ukis`, 0 clear, 1 cloud, 2 shadow. ukis-csmask is made for pixels of about 30 m: of 13-band images, which are
taken to have 10 m, there are `NAME.ukis10`, as they are, and `NAME.ukis20`, averaged to 20 m before.
"""

import sys
import warnings

import numpy as np
from s2cloudless import S2PixelCloudDetector
from ukis_csmask.mask import CSmask

NAMES = ["blue", "green", "red", "nir", "swir16", "swir22"]
SIX = [1, 2, 3, 7, 11, 12]


def averaged(probability):
    """The package's own smoothing (average_over=4, as its authors advise for 10 m), reflected at the border."""
    import cv2

    detector = S2PixelCloudDetector(average_over=4)
    return cv2.filter2D(probability, -1, detector.conv_filter, borderType=cv2.BORDER_REFLECT)


def coarse(image, factor):
    """(band, row, col) averaged over squares, the last ones over what there is."""
    rows, cols = (-(-n // factor) * factor for n in image.shape[1:])
    padded = np.pad(image, ((0, 0), (0, rows - image.shape[1]), (0, cols - image.shape[2])), mode="edge")
    return padded.reshape(len(image), rows // factor, factor, cols // factor, factor).mean((2, 4))


def ukis(image, factor):
    """0 clear, 1 cloud, 2 shadow, of the six bands."""
    shape = image.shape[1:]
    small = coarse(image, factor) if factor > 1 else image
    need = [(0, max(0, 256 - n)) for n in small.shape[1:]]
    padded = np.pad(small, ((0, 0), *need), mode="reflect" if min(small.shape[1:]) > 171 else "symmetric")
    mask = CSmask(np.ascontiguousarray(np.moveaxis(padded, 0, -1), np.float32), NAMES, intra_op_num_threads=2)
    made = mask.csm[: small.shape[1], : small.shape[2], 0]
    return made.repeat(factor, 0).repeat(factor, 1)[: shape[0], : shape[1]]


def main(source, target):
    warnings.simplefilter("ignore")
    detector, out = S2PixelCloudDetector(all_bands=True), {}
    with np.load(source) as images:
        for name in images.files:
            image = images[name]
            ten_metres = len(image) == 13
            if ten_metres:
                rho = np.moveaxis(image, 0, -1)[None].astype(np.float64)
                out[f"{name}.s2cloudless"] = averaged(detector.get_cloud_probability_maps(rho)[0])
                out[f"{name}.ukis10"] = ukis(image[SIX], 1)
                out[f"{name}.ukis20"] = ukis(image[SIX], 2)
            else:
                out[f"{name}.ukis"] = ukis(image, 1)
    np.savez_compressed(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
