from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from bakeroll.core.errors import InputError
from bakeroll.core.layers.inputs import Inputs, trace

BASIC = {
    "layer.pkr.hcl": 'x = "${path.root}/provisioners/${var.layer}.yml"\n',
    "plugins.pkr.hcl": "packer {}\n",
    "variables/common.pkrvars.hcl": "",
    "variables/base.pkrvars.hcl": "",
    "variables/application.pkrvars.hcl": "",
    "provisioners/ansible.cfg": "[defaults]\n",
    "provisioners/requirements.yml": "roles: []\ncollections: []\n",
    "provisioners/base.yml": "- hosts: all\n  roles: [clock]\n",
    "provisioners/application.yml": "- hosts: all\n  roles: [clock]\n",
    "provisioners/group_vars/all/vars.yml": "a: 1\n",
    "provisioners/group_vars/base/vars.yml": "a: 1\n",
    "provisioners/group_vars/application/vars.yml": "a: 1\n",
    "provisioners/group_vars/development/secrets.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
    "provisioners/group_vars/staging.yml": "a: 1\n",
    "provisioners/roles/clock/tasks/main.yml": "- ansible.builtin.debug:\n    msg: x\n",
    "provisioners/roles/other/tasks/main.yml": "[]\n",
}


@pytest.fixture
def packer(tmp_path: Path) -> Path:
    write(tmp_path / "packer", BASIC)
    return tmp_path / "packer"


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))


def paths(packer: Path, layer: str = "base", environment: str | None = "development") -> set[str]:
    found = trace(packer, layer, environment)
    return {file.path.removeprefix("provisioners/") for file in found.files}


def base(packer: Path, playbook: str, **files: str) -> set[str]:
    write(packer / "provisioners", {"base.yml": playbook})
    return paths(packer)


def refused(packer: Path, playbook: str | None = None) -> str:
    if playbook is not None:
        write(packer / "provisioners", {"base.yml": playbook})
    with pytest.raises(InputError) as caught:
        trace(packer, "base", None)
    return str(caught.value)


def test_a_layer_is_its_template_variables_playbook_roles_and_groups(packer: Path) -> None:
    assert paths(packer) == {
        "layer.pkr.hcl",
        "plugins.pkr.hcl",
        "variables/common.pkrvars.hcl",
        "variables/base.pkrvars.hcl",
        "ansible.cfg",
        "requirements.yml",
        "base.yml",
        "group_vars/all/vars.yml",
        "group_vars/base/vars.yml",
        "roles/clock/tasks/main.yml",
    }


def test_only_the_application_sees_its_environment(packer: Path) -> None:
    assert "group_vars/development/secrets.yml" in paths(packer, "application")
    assert "group_vars/staging.yml" in paths(packer, "application", "staging")
    assert "group_vars/staging.yml" not in paths(packer, "application", "development")
    assert trace(packer, "base", "staging") == trace(packer, "base", "development")


def test_an_application_without_environment_is_refused(packer: Path) -> None:
    with pytest.raises(InputError, match="belongs to an environment"):
        trace(packer, "application", None)


def test_an_unknown_layer_is_refused(packer: Path) -> None:
    with pytest.raises(InputError, match="no layer kernel; name one of base, application_base"):
        trace(packer, "kernel", None)


def test_the_whole_tree_of_a_role_counts(packer: Path) -> None:
    write(
        packer / "provisioners/roles/clock",
        {"files/a/b.txt": "x", "library/m.py": "x", "meta/main.yml": "{}\n"},
    )
    assert {"roles/clock/files/a/b.txt", "roles/clock/library/m.py"} <= paths(packer)


@pytest.mark.parametrize(
    "playbook",
    [
        "- hosts: all\n  roles:\n    - role: other\n",
        "- hosts: all\n  roles:\n    - {name: other, tags: [x]}\n",
        "- hosts: all\n  tasks:\n    - ansible.builtin.include_role:\n        name: other\n",
        "- hosts: all\n  tasks:\n    - import_role: name=other\n",
        "- hosts: all\n  tasks:\n    - block:\n        - import_role: {name: other, tasks_from: main}\n",
        "- hosts: all\n  handlers:\n    - ansible.builtin.include_role: {name: other}\n",
        "- hosts: all\n  tasks:\n    - action: include_role name=other\n",
        "- hosts: all\n  tasks:\n    - action: {module: include_role, name: other}\n",
        "- hosts: all\n  pre_tasks: &t\n    - rescue:\n        - include_role: {name: other}\n",
    ],
)
def test_a_role_is_found_however_it_is_named(packer: Path, playbook: str) -> None:
    assert "roles/other/tasks/main.yml" in base(packer, playbook)


def test_role_dependencies_are_followed_and_may_go_in_circles(packer: Path) -> None:
    write(
        packer / "provisioners/roles",
        {
            "clock/meta/main.yml": "dependencies:\n  - role: other\n",
            "other/meta/main.yml": "dependencies: [clock]\n",
        },
    )
    assert "roles/other/tasks/main.yml" in paths(packer)


def test_a_role_in_a_configured_folder_is_found(packer: Path) -> None:
    write(
        packer / "provisioners",
        {"ansible.cfg": "[defaults]\nroles_path = ./more:~/x\n", "more/third/tasks/main.yml": "[]\n"},
    )
    assert "more/third/tasks/main.yml" in base(packer, "- hosts: all\n  roles: [third]\n")


def test_included_files_are_followed(packer: Path) -> None:
    write(
        packer / "provisioners",
        {
            "more.yml": "- hosts: all\n  tasks:\n    - include_tasks: steps/one.yml\n"
            "  vars_files: [v.yml, [no.yml, w.yml]]\n",
            "steps/one.yml": "- import_tasks: two.yml\n- ansible.builtin.include_vars: {file: u.yml}\n",
            "steps/two.yml": "- include_role: {name: other}\n",
            "v.yml": "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\nb: !unsafe '{{ x }}'\n",
            "w.yml": "",
            "vars/u.yml": "{}\n",
        },
    )
    found = base(packer, "- import_playbook: more.yml\n- ansible.builtin.import_playbook: more.yml\n")
    assert {"more.yml", "steps/one.yml", "steps/two.yml", "v.yml", "w.yml", "vars/u.yml"} <= found
    assert "roles/other/tasks/main.yml" in found


def test_sources_outside_roles_are_resolved_as_ansible_does(packer: Path) -> None:
    write(
        packer / "provisioners",
        {"templates/a.j2": "{% include 'b.j2' %}{# {% include 'no.j2' %} #}",
         "templates/b.j2": "{{ lookup('file', 'c') }}",
         "files/c": "", "files/tree/d": "", "files/e.sh": "", "files/.swp": "", "g/1.txt": "", "g/2.txt": ""},
    )  # fmt: skip
    found = base(
        packer,
        """\
        - hosts: all
          vars:
            key: "{{ lookup('ansible.builtin.file', 'files/c') }}"
          tasks:
            - ansible.builtin.template: {src: a.j2, dest: /a}
            - copy: src=tree/ dest=/b
            - script: e.sh one two
            - copy: {content: x, dest: /c}
            - copy: {src: /on/machine, dest: /d, remote_src: true}
            - unarchive: {src: "https://example.com/x.tar", dest: /e}
            - debug: {msg: "{{ item }}"}
              with_fileglob: ["g/*.txt"]
        """,
    )
    assert {"templates/a.j2", "templates/b.j2", "files/c", "files/tree/d", "files/e.sh"} <= found
    assert {"g/1.txt", "g/2.txt"} <= found


def test_loops_that_are_written_out_are_followed(packer: Path) -> None:
    names = ("steps/a.yml", "steps/b.yml", "files/c", "files/d", "files/g/1.txt", "templates/e.j2")
    write(packer / "provisioners", dict.fromkeys(names, ""))
    found = base(
        packer,
        """\
        - hosts: all
          tasks:
            - include_tasks: "steps/{{ item }}.yml"
              loop: [a, b]
            - copy: {src: "{{ file.name }}", dest: /x}
              with_items: [{name: c}, {name: d}]
              loop_control: {loop_var: file}
            - copy: {src: "{{ item }}", dest: /y}
              with_fileglob: g/*.txt
            - template: {src: "{{ item.src }}", dest: "{{ item.dest }}"}
              loop:
                - {src: e.j2, dest: "/z/{{ x }}"}
        """,
    )
    assert set(names) <= found


@pytest.mark.parametrize("loop", ['"{{ names }}"', '["{{ name }}"]', "[{other: a}]"])
def test_loops_over_variables_are_not(packer: Path, loop: str) -> None:
    tasks = f'    - include_tasks: "{{{{ item }}}}.yml"\n      loop: {loop}\n'
    assert refused(packer, f"- hosts: all\n  tasks:\n{tasks}").startswith(
        "provisioners/base.yml:3: include_tasks"
    )


def test_files_beside_the_playbook_that_a_role_uses_count(packer: Path) -> None:
    write(
        packer / "provisioners",
        {
            "roles/clock/tasks/main.yml": '- copy: {src: "{{ role_path }}/files/own", dest: /a}\n'
            "- template: {src: shared.j2, dest: /b}\n"
            '- template: {src: "{{ item }}.conf", dest: /c}\n',
            "roles/clock/files/own": "",
            "templates/shared.j2": "",
            "templates/x.conf": "",
            "templates/unused.txt": "",
        },
    )
    found = paths(packer)
    assert {"templates/shared.j2", "templates/x.conf"} <= found
    assert "templates/unused.txt" not in found


def test_plugins_beside_the_playbook_count(packer: Path) -> None:
    write(packer / "provisioners", {"library/m.py": "", "filter_plugins/f.py": "", "notes/n.txt": ""})
    found = paths(packer)
    assert {"library/m.py", "filter_plugins/f.py"} <= found
    assert "notes/n.txt" not in found


def test_what_tools_leave_behind_does_not_count(packer: Path) -> None:
    before = trace(packer, "base", None)
    left = ("main.yml~", ".main.yml.swp", "#main.yml#", "__pycache__/x.pyc", ".git/HEAD", ".DS_Store")
    write(packer / "provisioners/roles/clock/tasks", dict.fromkeys(left, "x"))
    (packer / "provisioners/roles/clock/tasks/.#main.yml").symlink_to("me@here.1")
    assert trace(packer, "base", None) == before


def test_dates_do_not_count_but_bytes_paths_and_the_executable_bit_do(packer: Path) -> None:
    task = packer / "provisioners/roles/clock/tasks/main.yml"
    before = trace(packer, "base", None)
    os.utime(task, (1, 1))
    task.chmod(0o600)
    assert trace(packer, "base", None) == before
    task.chmod(0o755)
    executable = trace(packer, "base", None)
    task.chmod(0o644)
    task.write_text(task.read_text() + "\n")
    longer = trace(packer, "base", None)
    task.rename(task.with_name("other.yml"))
    renamed = trace(packer, "base", None)
    assert len({_key(each) for each in (before, executable, longer, renamed)}) == 4


def _key(inputs: Inputs) -> tuple[object, ...]:
    return inputs.files


def test_a_symbolic_link_counts_by_its_target_and_the_target_too(packer: Path) -> None:
    write(packer / "provisioners", {"shared/real.txt": "x"})
    link = packer / "provisioners/roles/clock/files/link.txt"
    link.parent.mkdir()
    link.symlink_to("../../../shared/real.txt")
    files = {file.path: file for file in trace(packer, "base", None).files}
    assert files["provisioners/roles/clock/files/link.txt"].mode == "link"
    assert "provisioners/shared/real.txt" in files


def test_a_link_out_of_the_folder_is_refused(packer: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (packer / "provisioners/roles/clock/out").symlink_to(tmp_path / "secret")
    assert "outside packer/" in refused(packer)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ('include_tasks: "{{ x }}.yml"', "include_tasks '{{ x }}.yml'"),
        ('ansible.builtin.include_vars: "{{ x }}.yml"', "include_vars"),
        ('include_role: {name: "app_{{ x }}"}', "role 'app_{{ x }}'"),
        ('template: {src: "{{ x }}", dest: /a}', "template '{{ x }}'"),
        ("debug: {msg: \"{{ lookup('file', name) }}\"}", "lookup('file', name)"),
    ],
)
def test_what_depends_on_variables_is_refused_with_file_and_line(packer: Path, task: str, what: str) -> None:
    said = refused(packer, f"- hosts: all\n  tasks:\n    - {task}\n")
    assert said.startswith("provisioners/base.yml:3: ")
    assert what in said
    assert "bakeroll_extra_inputs" in said
    assert "\n" not in said


def test_a_templated_include_in_a_role_is_refused_too(packer: Path) -> None:
    write(
        packer / "provisioners/roles/clock/tasks",
        {"main.yml": "---\n\n- include_tasks: '{{ os }}.yml'\n", "debian.yml": ""},
    )
    assert refused(packer).startswith("provisioners/roles/clock/tasks/main.yml:3: include_tasks")


def test_declared_files_stand_for_a_templated_include_and_are_followed(packer: Path) -> None:
    write(
        packer / "provisioners",
        {"steps/a.yml": "- include_role: {name: other}\n", "steps/b.yml": "[]\n", "steps/c.txt": ""},
    )
    found = base(
        packer,
        """\
        - hosts: all
          vars:
            bakeroll_extra_inputs: ["steps/*.yml"]
          tasks:
            - include_tasks: "steps/{{ x }}.yml"
        """,
    )
    assert {"steps/a.yml", "steps/b.yml", "roles/other/tasks/main.yml"} <= found
    assert "steps/c.txt" not in found


def test_declared_roles_stand_for_a_templated_role(packer: Path) -> None:
    found = base(
        packer,
        """\
        - hosts: all
          vars: {bakeroll_extra_inputs: [roles/other]}
          roles: ["{{ x }}er"]
        """,
    )
    assert "roles/other/tasks/main.yml" in found


def test_a_declaration_that_does_not_fit_the_include_does_not_help(packer: Path) -> None:
    write(packer / "provisioners", {"steps/a.yml": ""})
    said = refused(
        packer,
        """\
        - hosts: all
          vars: {bakeroll_extra_inputs: [steps/a.yml]}
          tasks:
            - include_tasks: "other/{{ x }}.yml"
        """,
    )
    assert said.startswith("provisioners/base.yml:4: include_tasks")


def test_a_declaration_that_matches_nothing_is_refused(packer: Path) -> None:
    said = refused(packer, "- hosts: all\n  vars:\n    bakeroll_extra_inputs:\n      - stepz/*.yml\n")
    assert said == (
        "provisioners/base.yml:4: bakeroll_extra_inputs: 'stepz/*.yml' matches no file; correct it, relative "
        "to the playbook"
    )


@pytest.mark.parametrize(
    ("playbook", "said"),
    [
        ("- hosts: all\n  roles:\n    - missing\n", "3: role missing is neither in"),
        ("- hosts: all\n  tasks:\n    - include_tasks: no.yml\n", "3: include_tasks: no.yml does not exist"),
        ("- hosts: all\n  tasks:\n    - copy:\n        src: no\n        dest: /a\n", "4: copy: no does not"),
        ("- hosts: all\n  vars_files:\n    - no.yml\n", "3: vars_files: none of no.yml exists"),
        ("- import_playbook: no.yml\n", "1: import_playbook: no.yml does not exist"),
        ("- hosts: [\n", "2: not YAML"),
        ("- hosts: all\n  tasks:\n    - copy: {src: /etc/passwd, dest: /a}\n", "3: /etc/passwd is outside"),
        ("- tasks:\n    - include_role: {name: other, tasks_from: no}\n", "2: tasks_from: no does not exist"),
    ],
)
def test_what_is_missing_is_named_with_file_and_line(packer: Path, playbook: str, said: str) -> None:
    assert refused(packer, playbook).startswith(f"provisioners/base.yml:{said}")


def test_a_missing_variable_file_is_named(packer: Path) -> None:
    (packer / "variables/base.pkrvars.hcl").unlink()
    said = "layer base: variables/base.pkrvars.hcl does not exist; add it, or correct the name"
    assert refused(packer) == said


def test_galaxy_roles_count_by_name_and_version(packer: Path) -> None:
    write(
        packer / "provisioners",
        {
            "requirements.yml": "roles:\n  - {name: acme.ntp, version: 1.0.0}\n"
            "collections:\n  - {name: acme.web, version: 2.0.0}\n",
            "roles/acme.ntp/tasks/main.yml": "[]\n",
        },
    )
    found = base(packer, "- hosts: all\n  roles: [acme.ntp, acme.web.server]\n")
    assert "requirements.yml" in found
    assert "roles/acme.ntp/tasks/main.yml" not in found


@pytest.mark.parametrize("entry", ["- name: acme.ntp", "- acme.ntp", "- {src: 'https://example.com/x.git'}"])
def test_a_galaxy_requirement_without_version_is_refused(packer: Path, entry: str) -> None:
    write(packer / "provisioners", {"requirements.yml": f"---\nroles:\n  {entry}\n"})
    assert refused(packer).startswith("provisioners/requirements.yml:3: ")


def test_encrypted_files_count_by_their_bytes(packer: Path) -> None:
    before = trace(packer, "application", "development")
    write(
        packer / "provisioners/group_vars/development", {"secrets.yml": "$ANSIBLE_VAULT;1.1;AES256\n6163\n"}
    )
    assert trace(packer, "application", "development") != before
