"""The endpoint that the azure driver is tested against: strict."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, ClassVar

import pytest

from platforms.azure import storage
from rehearsal.azure.paths import SUBSCRIPTION
from tests.cloud.conftest import Cloud
from tests.cloud.contract import MACHINE, SPEC
from tests.cloud.test_azure import GROUPS, tags
from tests.contract import IGNITION


class TestRehearsal:
    NAME: ClassVar[str] = "azure"

    def ask(
        self, cloud: Cloud, method: str, path: str, *, body: Any = None, token: str = "", **more: str
    ) -> tuple[int, Any]:
        front: Any = cloud.rehearsal.front
        headers = {"Authorization": f"Bearer {token or front._token}", **more}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(front.url + path, data, headers, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310
                return response.status, response.read()
        except urllib.error.HTTPError as e:
            with e:
                text = e.read().decode()
            return e.code, json.loads(text)["error"]["code"] if text.startswith("{") else e.headers["x-ms-error-code"]

    @pytest.mark.parametrize(
        ("path", "token", "expected"),
        [
            ("/resourcegroups?api-version=2021-04-01", "wrong", (401, "InvalidAuthenticationToken")),
            ("/resourcegroups", "", (400, "MissingApiVersionParameter")),
            ("/resourcegroups?api-version=new", "", (400, "MissingApiVersionParameter")),
            ("/providers/Microsoft.Web/sites?api-version=2021-04-01", "", (404, "InvalidResourceType")),
            ("/providers/Microsoft.Compute/galleries/x?api-version=2021-04-01", "", (404, "InvalidResourceType")),
        ],
    )
    def test_a_call_that_is_wrong(self, cloud: Cloud, path: str, token: str, expected: tuple[int, str]) -> None:
        assert self.ask(cloud, "GET", f"/subscriptions/{SUBSCRIPTION}{path}", token=token) == expected

    def test_requests_that_lack_something(self, cloud: Cloud) -> None:
        version = "?api-version=2024-07-01"
        group = f"{GROUPS}/g"
        network = f"{group}/providers/Microsoft.Network"
        assert self.ask(cloud, "PUT", group + version, body={}) == (400, "InvalidParameter")
        address = {"location": "x", "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}}
        where = f"{network}/publicIPAddresses/a{version}"
        assert self.ask(cloud, "PUT", where, body=address) == (404, "ResourceGroupNotFound")
        assert self.ask(cloud, "PUT", group + version, body={"location": "x"})[0] == 201
        assert self.ask(cloud, "PUT", where, body={**address, "sku": {}}) == (400, "InvalidParameter")
        unknown = {**address, "properties": {**address["properties"], "colour": "red"}}  # type: ignore[dict-item]
        assert self.ask(cloud, "PUT", where, body=unknown) == (400, "InvalidRequestContent")
        assert self.ask(cloud, "PUT", where, body=address)[0] == 201
        assert self.ask(cloud, "GET", where.replace("resourceGroups", "RESOURCEGROUPS"))[0] == 200
        config = {"name": "main", "properties": {"subnet": {"id": f"{network}/virtualNetworks/none/subnets/s"}}}
        nic = {"location": "x", "properties": {"ipConfigurations": [config]}}
        assert self.ask(cloud, "PUT", f"{network}/networkInterfaces/n{version}", body=nic) == (
            400,
            "InvalidResourceReference",
        )

    def test_a_machine_is_made_once_with_an_interface_that_is_described(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared):
            front: Any = cloud.rehearsal.front
            (found,) = (one for one in front.arm.resources.values() if one.kind.name == "virtualMachines")
            image, group = found.body["properties"]["storageProfile"]["imageReference"]["id"], found.id.split("/")[4]
            subnet = {"id": f"{GROUPS}/{group}/providers/Microsoft.Network/virtualNetworks/kola-run1/subnets/machines"}
            address = {"name": "a", "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}}

            def nic(**more: Any) -> list[dict[str, Any]]:
                config = {"subnet": subnet, "publicIPAddressConfiguration": address, **more}
                return [{"name": "n", "properties": {"ipConfigurations": [{"name": "main", "properties": config}]}}]

            def put(name: str, nics: list[dict[str, Any]], **more: str) -> tuple[int, Any]:
                properties = {
                    "hardwareProfile": {"vmSize": "Standard_B2s"},
                    "storageProfile": {
                        "imageReference": {"id": image},
                        "osDisk": {"createOption": "FromImage", "name": name},
                    },
                    "osProfile": {"computerName": name, "adminUsername": "core", "adminPassword": "x"},
                    "networkProfile": {"networkApiVersion": "2022-11-01", "networkInterfaceConfigurations": nics},
                }
                where = f"{GROUPS}/{group}/providers/Microsoft.Compute/virtualMachines/{name}?api-version=2024-07-01"
                return self.ask(cloud, "PUT", where, body={"location": "x", "properties": properties}, **more)

            assert put(MACHINE, nic(), **{"If-None-Match": "*"}) == (412, "PreconditionFailed")
            assert put(MACHINE, nic()) == (409, "PropertyChangeNotAllowed")
            assert put("m2", []) == (400, "InvalidParameter")
            assert put("m2", [{"name": "n", "properties": {}}]) == (400, "InvalidParameter")
            assert put("m2", nic(colour="red")) == (400, "InvalidRequestContent")
            assert put("m2", nic(subnet={"id": ""})) == (400, "InvalidRequestContent")
            basic = {**address, "sku": {"name": "Basic"}}
            assert put("m2", nic(publicIPAddressConfiguration=basic)) == (400, "InvalidParameter")
            assert put("m2", nic())[0] == 201

    def test_storage_wants_signatures(self, cloud: Cloud) -> None:
        driver: Any = cloud.driver(worker="main")
        driver._make_group("g", tags())
        account = storage.make_account(driver._clients, "g", storage.account_name("t"), "westeurope", tags())
        account.blob("a b/c").upload_blob(b"hello")
        path = account.readable("a b/c").removeprefix(cloud.rehearsal.front.url)
        assert self.ask(cloud, "GET", path) == (200, b"hello")
        assert self.ask(cloud, "GET", path.replace("sig=", "sig=A")) == (403, "AuthenticationFailed")
        assert self.ask(cloud, "DELETE", path) == (403, "AuthenticationFailed")
        assert self.ask(cloud, "GET", path.partition("?")[0]) == (403, "AuthenticationFailed")
        front: Any = cloud.rehearsal.front
        front.blobs.accounts[account.name].key = "AAAA"
        with pytest.raises(Exception, match="AuthenticationFailed"):
            account.blob("a b/c").delete_blob()
