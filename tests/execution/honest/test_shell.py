import subprocess


def test_a_pipeline_of_the_shell():
    assert subprocess.check_output("printf 'b\\na\\n' | sort | head -1", shell=True, text=True) == "a\n"
