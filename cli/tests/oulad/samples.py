"""A small data set with every kind of dirt in it, as files. All people in it are numbers and none is real."""

from __future__ import annotations

from pathlib import Path

SAMPLE = {
    "courses.csv": """\
code_module,code_presentation,module_presentation_length
AAA,2013J,268
BBB,2013B,240
""",
    "assessments.csv": """\
code_module,code_presentation,id_assessment,assessment_type,date,weight
AAA,2013J,11,TMA,19,40
AAA,2013J,12,CMA,54,60
AAA,2013J,13,Exam,,100
BBB,2013B,21,TMA,19,12.5
""",
    "studentInfo.csv": """\
code_module,code_presentation,id_student,num_of_prev_attempts,studied_credits,final_result
AAA,2013J,1,0,60,Pass
AAA,2013J,2,0,60,Fail
AAA,2013J,3,1,60,Withdrawn
AAA,2013J,4,0,60,Withdrawn
AAA,2013J,5,0,60,Pass
AAA,2013J,6,0,60,Fail
BBB,2013B,1,0,60,Distinction
""",
    "studentRegistration.csv": """\
code_module,code_presentation,id_student,date_registration,date_unregistration
AAA,2013J,1,-159,
AAA,2013J,2,-53,
AAA,2013J,3,-92,12
AAA,2013J,4,-92,
AAA,2013J,5,,
AAA,2013J,6,-20,30
BBB,2013B,1,-2,
""",
    "studentAssessment.csv": """\
id_assessment,id_student,date_submitted,is_banked,score
11,1,18,0,78
12,1,54,0,39.5
13,1,240,0,
11,2,22,0,40
11,3,14,0,70
11,4,10,0,50
11,5,18,0,90
12,5,18,0,90
11,6,-1,1,72
12,6,-1,1,
21,1,19,0,100
""",
}


def write(folder: Path, **changed: str | bytes) -> Path:
    """The sample in `folder`, some files in other words: `courses="..."` is courses.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SAMPLE.items():
        content = changed.get(name.removesuffix(".csv"), text)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
