# SPDX-License-Identifier: Apache-2.0
"""Where published ECG data sets lie, under which licence, and how they are cited.

Facts only, as their publishers state them. Numbers that could not be confirmed are None; what is given all the same,
and could not be compared with a page of the publisher or a copy of the data, is named in `unconfirmed`. Sizes are what
a download takes on the disk, to the first digit or two, reckoned from the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PHYSIONET = (
    "Goldberger A, Amaral L, Glass L, Hausdorff J, Ivanov PC, Mark R, et al. PhysioBank, PhysioToolkit, and PhysioNet: "
    "components of a new research resource for complex physiologic signals. Circulation 101(23):e215-e220, 2000."
)
ODC_BY, CC_BY = "ODC-By 1.0", "CC BY 4.0"


@dataclass(frozen=True)
class Source:
    """A published data set.

    name      as ecglens calls it
    title     as its publisher calls it
    url       of the folder that holds the files, with a slash at its end; for Zenodo, of the record
    version   that the url and the checksums belong to
    licence   of the files
    citation  what to cite, the data set first
    size      of what is downloaded, in bytes, roughly
    records   recordings in it
    people    who were recorded
    access    open: anybody may fetch it. credentialed: only with an account and an agreement
    only      patterns of the files that are fetched unless others are asked for
    unconfirmed  names of the fields above that nobody could compare with the publisher's own words yet
    listing   which list says what there is: SHA256SUMS.txt in the folder, or Zenodo's record (with MD5 sums)
    """

    name: str
    title: str
    url: str
    version: str
    licence: str
    citation: str
    size: int | None = None
    records: int | None = None
    people: int | None = None
    access: Literal["open", "credentialed"] = "open"
    only: tuple[str, ...] = ("*",)
    unconfirmed: tuple[str, ...] = ()
    listing: Literal["sha256sums", "zenodo"] = "sha256sums"


def _physionet(
    name: str,
    slug: str,
    version: str,
    title: str,
    licence: str,
    citation: str,
    *,
    size: int | None = None,
    records: int | None = None,
    people: int | None = None,
    only: tuple[str, ...] = ("*",),
    unconfirmed: tuple[str, ...] = ("size",),
) -> Source:
    url = f"https://physionet.org/files/{slug}/{version}/"
    return Source(name, title, url, version, licence, f"{citation} {PHYSIONET}", size, records, people, only=only,
                  unconfirmed=unconfirmed)  # fmt: skip


_ALL = (
    _physionet(
        "ptbxl", "ptb-xl", "1.0.3", "PTB-XL, a large publicly available electrocardiography dataset", CC_BY,
        "Wagner P, Strodthoff N, Bousseljot R, Samek W, Schaeffter T. PTB-XL, a large publicly available "
        "electrocardiography dataset (version 1.0.3). PhysioNet 2022, doi 10.13026/kfzx-aw45. Wagner P, et al. "
        "Scientific Data 7:154, 2020, doi 10.1038/s41597-020-0495-6.",
        size=3_200_000_000, records=21_799, people=18_869,
    ),
    _physionet(
        "ptbxl-plus", "ptb-xl-plus", "1.0.1", "PTB-XL+, a comprehensive electrocardiographic feature dataset", CC_BY,
        "Strodthoff N, Mehari T, Schaeffter T. PTB-XL+, a comprehensive electrocardiographic feature dataset "
        "(version 1.0.1). PhysioNet 2023, doi 10.13026/nqsf-pc74. Strodthoff N, et al. Scientific Data 10:279, 2023, "
        "doi 10.1038/s41597-023-02153-8.",
        unconfirmed=("licence", "citation"),
    ),
    _physionet(
        "mitdb", "mitdb", "1.0.0", "MIT-BIH Arrhythmia Database", ODC_BY,
        "Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Engineering in Medicine and Biology "
        "20(3):45-50, 2001. Data: doi 10.13026/C2F305.",
        size=100_000_000, records=48, people=47,
    ),
    _physionet(
        "ltdb", "ltdb", "1.0.0", "MIT-BIH Long-Term ECG Database", ODC_BY,
        "MIT-BIH Long-Term ECG Database (version 1.0.0). PhysioNet, doi 10.13026/C2KS3F.",
        size=200_000_000, records=7, people=7, unconfirmed=("licence", "citation", "size"),
    ),
    _physionet(
        "chfdb", "chfdb", "1.0.0", "BIDMC Congestive Heart Failure Database", ODC_BY,
        "Baim DS, Colucci WS, Monrad ES, et al. Survival of patients with severe congestive heart failure treated with "
        "oral milrinone. Journal of the American College of Cardiology 7(3):661-670, 1986. Data: doi 10.13026/C29G60.",
        records=15, people=15, unconfirmed=("licence",),
    ),
    _physionet(
        "butqdb", "butqdb", "1.0.0", "Brno University of Technology ECG Quality Database (BUT QDB)", CC_BY,
        "Nemcova A, Smisek R, Opravilová K, Vitek M, Smital L, Maršánová L. Brno University of Technology ECG Quality "
        "Database (BUT QDB) (version 1.0.0). PhysioNet 2020, doi 10.13026/kah4-0w24.",
        size=4_200_000_000, records=18, people=15,
    ),
    _physionet(
        "ludb", "ludb", "1.0.1", "Lobachevsky University Electrocardiography Database", ODC_BY,
        "Kalyakulina A, Yusipov I, Moskalenko V, Nikolskiy A, Kosonogov K, Zolotykh N, Ivanchenko M. Lobachevsky "
        "University Electrocardiography Database (version 1.0.1). PhysioNet 2021, doi 10.13026/eegm-h675. Kalyakulina "
        "A, et al. IEEE Access 2020, doi 10.1109/ACCESS.2020.3029211.",
        size=25_000_000, records=200, unconfirmed=("citation", "size"),
    ),
    _physionet(
        "ecgiddb", "ecgiddb", "1.0.0", "ECG-ID Database", ODC_BY,
        "Lugovaya TS. Biometric human identification based on electrocardiogram. Master's thesis, Electrotechnical "
        "University LETI, Saint Petersburg, 2005. Data: doi 10.13026/C2J01F.",
        size=14_000_000, records=310, people=90, unconfirmed=("citation",),
    ),
    # The folder holds set-b, the entrants' programs and every record a second time as text: left out unless asked for.
    _physionet(
        "cinc2011", "challenge-2011", "1.0.0",
        "Improving the Quality of ECGs Collected using Mobile Phones: PhysioNet/CinC Challenge 2011, set A", ODC_BY,
        "Silva I, Moody GB, Celi L. Improving the quality of ECGs collected using mobile phones: the "
        "PhysioNet/Computing in Cardiology Challenge 2011. Computing in Cardiology 38:273-276, 2011.",
        size=120_000_000, records=1000, only=("set-a/*.hea", "set-a/*.dat", "set-a/RECORDS*"),
    ),
    _physionet(
        "challenge2021", "challenge-2021", "1.0.3",
        "Will Two Do? Varying Dimensions in Electrocardiography: PhysioNet/CinC Challenge 2021", CC_BY,
        "Reyna MA, Sadr N, Perez Alday EA, Gu A, Shah AJ, Robichaux C, et al. Will two do? Varying dimensions in "
        "electrocardiography: the PhysioNet/Computing in Cardiology Challenge 2021. Computing in Cardiology 2021, doi "
        "10.23919/CinC53138.2021.9662687. Data: doi 10.13026/34va-7q14.",
        unconfirmed=("licence",),
    ),
    Source(
        "code15", "CODE-15%: a large scale annotated dataset of 12-lead ECGs",
        "https://zenodo.org/api/records/4916206", "1.0.0", CC_BY,
        "Ribeiro AH, Paixão GMM, Lima EM, Horta Ribeiro M, Pinto Filho MM, Gomes PR, et al. CODE-15%: a large scale "
        "annotated dataset of 12-lead ECGs (version 1.0.0). Zenodo 2021, doi 10.5281/zenodo.4916206.",
        size=51_000_000_000, records=345_779, people=233_770, listing="zenodo",
        unconfirmed=("licence", "size"),
    ),
)  # fmt: skip

# Adding a data set: one entry above.
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
