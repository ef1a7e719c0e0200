# SPDX-License-Identifier: Apache-2.0
"""Small trees in the published layouts of the data sets, so that no test needs the data sets themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trees import TWELVE, annotate, blank, matlab_head, walk, write_record


@pytest.fixture
def mitdb(tmp_path: Path) -> Path:
    """Five of 48: one man twice, reversed channels, no MLII, clipping, an unknown age; 40 s each."""
    people = {
        "100": ("69 M 1085 1629 x1", ("MLII", "V5")),
        "103": ("-1 M 742 654 x1", ("MLII", "V2")),
        "114": ("72 F 750 1629 x1", ("V5", "MLII")),
        "201": ("68 M 1960 167 x1", ("MLII", "V1")),
        "202": ("68 M 1960 167 x1", ("MLII", "V1")),
    }
    for seed, (name, (first, leads)) in enumerate(people.items()):
        samples = walk(2, 40 * 360, seed)
        if name == "103":
            samples[1, 500:510] = 1023  # the highest that 11 bits around 1024 can hold
            samples[0, 700] = -1024  # one sample alone is no clipping
        comments = [f" {first}", " Digoxin", " The PVCs are uniform."]
        header = write_record(
            tmp_path / "mit", name, 360, leads, samples, comments, gain="200", resolution=11, zero=1024
        )
        late = [("+", "(AFIB")] if name == "201" else [("V", "")]
        annotate(header, "atr", [(18, "+", "(N"), (77, "N", ""), *((20 * 360, s, n) for s, n in late), (9000, "A", "")])
    duplicates = tmp_path / "mit" / "x_mitdb"
    write_record(duplicates, "x_108", 360, ("MLII", "V1"), walk(2, 3600), [" 69 M 1085 1629 x1"])
    return tmp_path / "mit"


@pytest.fixture
def ltdb(tmp_path: Path) -> Path:
    """Two of seven, 100 s and 60 s."""
    for name, seconds in (("14046", 100), ("15814", 60)):
        samples = walk(2, seconds * 128)
        header = write_record(tmp_path / "lt", name, 128, ("ECG1", "ECG2"), samples, ["46 M 1 2 x1"])
        annotate(header, "atr", [(10, "N", "")])
    return tmp_path / "lt"


@pytest.fixture
def chfdb(tmp_path: Path) -> Path:
    for name, comment in (
        ("chf01", "Age: 71  Sex: M  NYHA class: III-IV"),
        ("chf06", "Age: ?  Sex: M  NYHA class: III-IV"),
    ):
        header = write_record(tmp_path / "c", name, 250, ("ECG1", "ECG2"), walk(2, 5000), [comment])
        annotate(header, "ecg", [(10, "N", "")])
    return tmp_path / "c"


@pytest.fixture
def butqdb(tmp_path: Path) -> Path:
    """Three recordings of two people, 30 s; the first graded in part, the second nowhere, the third throughout."""
    root = tmp_path / "but"
    grades = {
        "100001": ["1,2000,1,1,2000,1,1,2000,1,1,2000,1", ",,,,,,,,,2001,5000,2", ",,,,,,,,,5001,30000,0"],
        "100002": [],
        "103001": ["1,30000,3,1,30000,2,1,30000,3,1,30000,3"],
    }
    for name, lines in grades.items():
        write_record(root / name, f"{name}_ECG", 1000, ("ECG",), walk(1, 30000) * 30, gain="1.996(-12)/uV",
                     resolution=0, sums=False)  # fmt: skip
        write_record(root / name, f"{name}_ACC", 100, ("X", "Y", "Z"), walk(3, 3000), gain="1/mg")
        (root / name / f"{name}_ANN.csv").write_text(
            "".join(f"{line}\n" for line in lines) or "1,2,0,1,2,0,1,2,0,1,2,0\n"
        )
    (root / "subject-info.csv").write_text(
        "ID;Gender;Age;Height;Weight;Smoker\n100001;F;28;170;60;0\n100002;F;28;170;60;0\n"
        "103001;M;21;180;80;1\n126001;M;58;180;80;1\n"
    )
    return root


@pytest.fixture
def ludb(tmp_path: Path) -> Path:
    root = tmp_path / "lu"
    for name in ("1", "2", "9"):
        write_record(root / "data", name, 500, [lead.lower() for lead in TWELVE], walk(12, 5000, int(name)))
    (root / "ludb.csv").write_text(
        "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
        "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states\n"
        '1,"F\n","51\n",Sinus bradycardia,Electric axis of the heart: normal,,,"Left ventricular overload\n'
        'Left ventricular hypertrophy",,,Non-specific repolarization abnormalities: posterior wall,\n'
        '2,"M\n",">89\n","Atrial flutter, typical",Electric axis of the heart: left axis deviation,'
        'I degree av block,"Atrial extrasystole, type: single pac\nAtrial extrasystole: undefined",,,'
        '"Stemi: septal\nStemi: apical",,\n'
        '3,"M\n","53\n",Sinus rhythm,,,,,,,,\n'
    )
    return root


@pytest.fixture
def ecgiddb(tmp_path: Path) -> Path:
    """Two people, three recordings; the last begins with a blank that its header knows nothing of."""
    root = tmp_path / "id"
    for person, name, date in ((1, "rec_1", "07.12.2004"), (1, "rec_2", "12.05.2005"), (26, "rec_10", "01.02.2005")):
        comments = [" Age: 25", f" Sex: {'male' if person == 1 else 'female'}", f" ECG date: {date}"]
        samples = walk(2, 4000, person * 100 + len(date + name))
        leads = ("ECG I", "ECG I filtered")
        header = write_record(root / f"Person_{person:02d}", name, 500, leads, samples, comments)
        header.write_text(header.read_text().replace("#", "\n#", 1))
    blank(root / "Person_26" / "rec_10.dat", 1024)
    return root


@pytest.fixture
def cinc2011(tmp_path: Path) -> Path:
    leads = ("I", "II", "III", "aVR", "aVF", "aVL", *TWELVE[6:])
    for seed, name in enumerate(("1002603", "1002867", "1003574")):
        write_record(tmp_path / "q", name, 500, leads, walk(12, 5000, seed), gain="200(0)/mV", resolution=16)
    (tmp_path / "q" / "labels.csv").write_text(
        "record,quality\n1002603,unacceptable\n1002867,acceptable\n9,acceptable\n"
    )
    return tmp_path / "q"


@pytest.fixture
def challenge2021(tmp_path: Path) -> Path:
    root = tmp_path / "training"
    people = {
        ("cpsc_2018/g1", "A0001"): ["Age: 74", "Sex: Male", "Dx: 59118001"],
        ("georgia/g1", "E00001"): [" Age: NaN", " Sex: Unknown", " Dx: 426783006,39732003,999"],
        ("ningbo/g3", "JS10647"): ["Age: -1", "Sex: F", "Dx: "],
        ("ptb-xl/g1", "HR00001"): ["Age: 300", "Sex: Female", "Dx: 713427006"],
    }
    for seed, ((folder, name), comments) in enumerate(people.items()):
        write_record(root / folder, name, 500, TWELVE, walk(12, 2500, seed), [*comments, "Rx: Unknown"],
                     gain="1000/mV", resolution=16, file=f"{name}.mat", head=matlab_head(12, 2500))  # fmt: skip
    return root


@pytest.fixture
def code15(tmp_path: Path) -> Path:
    """The table of three exams; parts hold nothing here, for their reading is replaced in the tests."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "exams.csv").write_text(
        "exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file\n"
        "11,50,True,51,False,True,False,False,False,False,100,False,1,False,exams_part0.hdf5\n"
        "12,61,False,60,True,False,False,False,False,True,101,,,False,exams_part0.hdf5\n"
        "13,44,True,45,False,False,False,False,False,False,100,False,1,True,exams_part1.hdf5\n"
        "14,44,True,45,False,False,False,False,False,False,102,False,1,True,exams_part0.hdf5\n"
    )
    (root / "exams_part0.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    return root


@pytest.fixture
def tree(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return the tree of a data set by its name."""
    return lambda name: Path(request.getfixturevalue(name))
