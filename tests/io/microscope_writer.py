# SPDX-License-Identifier: Apache-2.0
"""Small files of microscopes, and what is in them.

DM3, DM4 and MRC are written by libraries, the CZI was written by Zeiss's own libCZI; LIF and ND2,
of which there is no free writer, are put together here after the descriptions that their readers
follow.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

#: Two channels of 6 x 8 pixels of 16 bits: the ramp 0, 1000, 2000 ..., and 7 more than that;
#: pixels of 6 x 5 nm (pylibCZIrw 6.1).
_CZI = """
c-rk&O-LI-6kfG877q#*EO;>JK@pNkV%#J$othuDu|_3XH3^7LHj}uJKa&lbf>fxb9t1rI^&psoV8Mfe2fgX7-t<(39-5opY
!9X0>?XVUlh8^jZKZv%``-8Fdoyq6y`5dR)nPY|_E`J7DN)Lcbs1GG%MTl0^}YO3`Pp%X-y6?cZsIg2^+4pN?o<Eej*C0fAC
6&@sejP?jG_*uhB%P)xWt=~v}GhcATKX9mrS^vl3i7xU6Nf{plwuf|E0CNgwI^U$CU6nO89<-KwCFsv=|v9f(-V@5VRAX3ve
O7)r&M89v$oR(F(7DW))h!!JxpbnkcYN@6*x5&`x(~ASeicK%4{QCZ(v0iWAv>b+TrmE>iDo=xS_ju5Gz$ODT^uJM?Pj9GWx
@_2~QL16B4<!)LC;vA1}c%y1LIr&Fr<qXad3F?TY*zmQy9SdOeXSG(3)leHUHo2jj%?Va7#y`QWvb?<l9x9l&iua2-953SNG
v>K0a(`$7K?DNnHZMz2(m0E>a1NlLHWz=QGsqCP7vu3Gox_-Q&w-Gegw_LZKD~~mM^m^xO6gG|aJn3s0sIh+?{^)u)wvFGA7
o0yhIHij>CS<dhbEoqM3!95e%hN04tG#O=S-)|;dA@bLy|=rbt#5Wc;Y_X&pX)<bm;c-68?*+opIE|dJV-)3f;PfqFXl0V){
rk84Pu@PhmgoZ(7`<?PNauGG&0zQXc4<a>_%!4yG3k98WEdC%w)$I5j(QjA!1t=+Yq#HLRK*$1EFcmlQ<M2fxIQRdLK7QcBi
Td!69yj1eipGpx!7>sD-rh9tb36>2US!!$Cd~P?+EM!=(+(Z#2X40fJ_PS0ZCTb2yk8h$I4>$LzL7r{#VUB2ml}udt>xDlD0
s!5E1II94jq01lFZSO_u>I6|W7^boC7D^(C=Ap}Lips3ak7N_4=q3Apb#?nQI@i@ei%!WCIjT*s$I6)mmp)v?lW<Yu?MAi+y
E61mA#dqiUs#07a<pgp`f_%q<;$ANJep{^eZZk7zcTp+nU_2`;{@wdia+m%W?&7!a8%7Gk*#
"""


def ramp(kind: Any = np.uint16, shape: tuple[int, ...] = (6, 8)) -> Pixels:
    """Numbers that rise along the rows and down, and fit 8 bits or fill 16."""
    step = 1 if np.dtype(kind).itemsize == 1 else 1000
    return (np.arange(np.prod(shape)) * step).reshape(shape).astype(kind)


def write_czi(path: Path) -> None:
    """Two channels: `ramp()`, and 7 more."""
    path.write_bytes(zlib.decompress(base64.b85decode("".join(_CZI.split()))))


def write_dm(path: Path, data: Pixels, nm: tuple[float, float] = (0.4, 0.5)) -> None:
    """A DM3 or DM4 file, by its name, of pixels (rows, columns) or (planes, rows, columns)."""
    from nion.data.Calibration import Calibration
    from nion.data.DataAndMetadata import DataDescriptor, new_data_and_metadata
    from nionswift_plugin.DM_IO.dm3_image_utils import save_image

    sizes = [Calibration()] * (data.ndim - 2) + [Calibration(0, edge, "nm") for edge in nm]
    about = DataDescriptor(data.ndim > 2, 0, 2)
    found = new_data_and_metadata(data, data_descriptor=about, dimensional_calibrations=sizes)
    with path.open("wb") as stream:
        save_image(found, stream, int(path.suffix[-1]))


def write_mrc(path: Path, data: Pixels, angstrom: tuple[float, float, float] = (5, 4, 1)) -> None:
    """Planes (rows, columns) or (planes, rows, columns) as MRC has them, from the bottom up."""
    import mrcfile

    with mrcfile.new(path, np.ascontiguousarray(data[..., ::-1, :])) as file:
        file.voxel_size = angstrom


def write_lif(path: Path, scenes: list[Pixels], metres: float = 2e-9) -> None:
    """Scenes (channels, rows, columns) of square pixels."""
    elements, blocks = [], []
    for number, data in enumerate(scenes):
        channels, rows, columns = data.shape
        item = data.dtype.itemsize
        dims = "".join(
            f'<DimensionDescription DimID="{axis}" NumberOfElements="{n}" Origin="0" Unit="m" '
            f'Length="{metres * (n - 1)}" BitInc="0" BytesInc="{step}"/>'
            for axis, n, step in ((1, columns, item), (2, rows, item * columns))
        )
        each = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * item}" Unit="" '
            f'NameOfMeasuredQuantity="" Min="0" Max="1" LUTName="Gray" IsLUTInverted="0" '
            f'BytesInc="{channel * item * rows * columns}" BitInc="0"/>'
            for channel in range(channels)
        )
        elements.append(
            f'<Element Name="s{number}" UniqueID="u{number}"><Data><Image><ImageDescription>'
            f"<Channels>{each}</Channels><Dimensions>{dims}</Dimensions></ImageDescription></Image>"
            f'</Data><Memory Size="{data.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        name = f"MemBlock_{number}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, data.nbytes, 0x2A, len(name) // 2) + name
        blocks.append(struct.pack("<II", 0x70, len(head)) + head + data.tobytes())
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="file"><Children>'
        f"{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2)
    path.write_bytes(head + text + b"".join(blocks))


def write_nd2(path: Path, data: Pixels, micrometres: float = 0.25) -> None:
    """Times (frames, rows, columns, channels) of 16 bits, in the way of version 2.1."""
    frames, rows, columns, channels = data.shape
    told = {
        **{"uiWidth": columns, "uiWidthBytes": 2 * columns * channels, "uiHeight": rows},
        **{"uiComp": channels, "uiBpcInMemory": 16, "uiBpcSignificant": 16},
        **{"uiSequenceCount": frames, "eCompression": 2},
    }
    cells = "".join(f'<{k} runtype="lx_uint32" value="{v}"/>' for k, v in told.items())
    one = '<pFluorescentProbe><m_uiColor runtype="lx_uint32" value="0"/></pFluorescentProbe>'
    planes = "".join(f"<a{channel}>{one}</a{channel}>" for channel in range(channels))
    about = (
        f'<dCalibration runtype="double" value="{micrometres}"/>'
        '<bCalibrated runtype="bool" value="true"/>'
        f'<sPicturePlanes><uiCount runtype="lx_uint32" value="{channels}"/>'
        f"<sPlaneNew>{planes}</sPlaneNew></sPicturePlanes>"
    )
    loop = (
        '<eType runtype="lx_uint32" value="1"/><uLoopPars>'
        f'<uiCount runtype="lx_uint32" value="{frames}"/>'
        + "".join(f'<{k} runtype="double" value="1"/>' for k in ("dStart", "dPeriod", "dDuration"))
        + "</uLoopPars>"
    )
    chunks = {b"ND2 FILE SIGNATURE CHUNK NAME01!": b"Ver2.1".ljust(64, b"\0")}
    chunks[b"ImageAttributes!"] = f"<variant><no_name>{cells}</no_name></variant>".encode()
    chunks[b"ImageMetadataSeq|0!"] = f"<variant><no_name>{about}</no_name></variant>".encode()
    if frames > 1:
        chunks[b"ImageMetadata!"] = f"<variant><no_name>{loop}</no_name></variant>".encode()
    for number, frame in enumerate(data):
        chunks[f"ImageDataSeq|{number}!".encode()] = bytes(8) + frame.tobytes()
    file, places = b"", b""
    for name, body in chunks.items():
        places += name + struct.pack("<QQ", len(file), len(body))
        long = name.ljust(4072, b"\0") if name.startswith(b"ImageDataSeq") else name
        file += struct.pack("<IIQ", 0x0ABECEDA, len(long), len(body)) + long + body
    mark, end = b"ND2 FILEMAP SIGNATURE NAME 0001!", b"ND2 CHUNK MAP SIGNATURE 0000001!"
    places += end + struct.pack("<QQ", 0, 0)
    at = len(file)
    file += struct.pack("<IIQ", 0x0ABECEDA, len(mark), len(places) + 40) + mark + places
    path.write_bytes(file + end + struct.pack("<Q", at))
