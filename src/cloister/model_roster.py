"""Who answers an agent's calls of models: chosen from the settings, within the operator's bounds, with a key."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloister.errors import NotFoundError, UsageError
from cloister.model.broker import check_sendable, placeholder_of
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.environment import Environment
from cloister.model.model_access import MODEL_PORT, ModelAccess, ModelApi
from cloister.model.model_door import ModelDoor
from cloister.model.model_provider import KEY_PLACE, ListedProvider, ModelChoice, ModelProvider, parse_choice
from cloister.model.network import host_matches
from cloister.model.secret import SHORTEST_SECRET, BrokerRule, Grant, SecretValue
from cloister.protocols import Vault

_LARGEST_KEY = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel:
    """A provider, and what is asked of it."""

    provider: ModelProvider
    api: ModelApi
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model that an agent can be given."""

    access: ModelAccess
    """For the sandbox."""
    grant: Grant
    """For the proxy alone."""
    provider: ModelProvider

    def __str__(self) -> str:
        return str(ModelChoice(provider=self.provider.name, model=self.access.model))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoster:
    """The providers of one installation, and their keys."""

    vault: Vault
    providers: Sequence[ModelProvider] = ()
    """The first that speaks what an agent does is the one it gets, unless another is asked for."""
    ceiling: Ceiling = UNBOUNDED
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Where variables with keys are."""

    async def choose(self, api: ModelApi | None, environment: Environment, *, agent: str) -> ChosenModel | None:
        """Return the model for an agent that speaks `api`; None for one that needs none and is given none.

        UsageError when there is none, when it may not be reached, or when a budget could not be kept.
        """
        if api is None and environment.model is None:
            return None
        chosen = self._asked(api, environment, agent) if environment.model else await self._first(api, agent)
        self._check_reach(chosen.provider, environment)
        _check_budget(chosen, environment)
        return chosen

    async def check(self, api: ModelApi | None, environment: Environment, *, agent: str) -> None:
        """Raise what `choose` raises, and UsageError when there is no key."""
        chosen = await self.choose(api, environment, agent=agent)
        if chosen is not None:
            await self.key_of(chosen.provider)

    async def open(
        self, api: ModelApi | None, environment: Environment, attempt: str, *, agent: str
    ) -> OpenModel | None:
        """Return the agent's way to its model, with the key that is there now. Errors as `check`."""
        chosen = await self.choose(api, environment, agent=agent)
        if chosen is None:
            return None
        provider = chosen.provider
        placeholder = placeholder_of(provider.key_name, attempt)
        key = await self.key_of(provider)
        access = ModelAccess(
            provider=provider.name,
            api=chosen.api,
            base_url=f"http://127.0.0.1:{MODEL_PORT}",
            model=chosen.model,
            placeholder=placeholder,
        )
        grant = _grant(chosen, key or SecretValue(placeholder), placeholder)
        return OpenModel(access=access, grant=grant, provider=provider)

    async def key_of(self, provider: ModelProvider) -> SecretValue | None:
        """Return its key; None for one that wants none. UsageError says where it is missing."""
        source = provider.key
        if source.absent:
            return None
        key = source.value or await self._find_key(provider)
        if key is None:
            raise UsageError(
                f"the provider {provider.name} has no key", hint=f"give it one: cloister model set-key {provider.name}"
            )
        try:
            if len(key.reveal()) < SHORTEST_SECRET:
                raise ValueError(f"has fewer than {SHORTEST_SECRET} characters, so it could not be masked")  # noqa: TRY301
            check_sendable(_rule(provider), key.reveal())
        except ValueError as error:
            raise UsageError(f"the key of the provider {provider.name} {error}") from error
        return key

    async def list(self) -> Sequence[ListedProvider]:
        """Return every provider, in their order, and where its key is."""
        return [
            ListedProvider(
                name=it.name,
                apis=it.apis,
                base=str(it.base),
                model=it.model,
                key=await self._where_key_is(it),
                prices=it.prices,
                in_settings=it.in_settings,
            )
            for it in self.providers
        ]

    async def set_key(self, name: str, value: str) -> None:
        """Keep a provider's key in the vault. UsageError, with nothing changed, when it cannot be one."""
        provider = self.get(name)
        if not provider.key.in_vault:
            raise UsageError(
                f"the settings say where the key of {name} is, so the vault's would never be used",
                hint=f"take key, key_file, key_variable and keyless out of models.{name}",
            )
        try:
            check_sendable(_rule(provider), value)
        except ValueError as error:
            raise UsageError(f"the key of the provider {name} {error}") from error
        await self.vault.set(KEY_PLACE, provider.key_name, value)

    async def remove_key(self, name: str) -> None:
        """Forget a provider's key. NotFoundError when the vault has none."""
        try:
            await self.vault.remove(KEY_PLACE, self.get(name).key_name)
        except NotFoundError as error:
            raise NotFoundError(f"the vault has no key of {name}") from error

    def get(self, name: str) -> ModelProvider:
        """Return the provider of that name. NotFoundError names those that there are."""
        found = next((it for it in self.providers if it.name == name), None)
        if found is None:
            known = ", ".join(it.name for it in self.providers)
            raise NotFoundError(
                f"there is no provider {name}", hint=f"there are {known}; more come by [models] in Cloister's settings"
            )
        return found

    def _asked(self, api: ModelApi | None, environment: Environment, agent: str) -> ChosenModel:
        try:
            choice = parse_choice(environment.model or "")
        except ValueError as error:
            raise UsageError(f"the model of environment {environment.name}: {error}") from error
        provider = self.get(choice.provider)
        if api is not None and api not in provider.apis:
            spoken = ", ".join(provider.apis)
            raise UsageError(
                f"the agent {agent} speaks the protocol {api} to its model, and the provider {provider.name} {spoken}",
                hint=f"ask for another with --model, or if it does, add it to models.{provider.name}.api",
            )
        return ChosenModel(provider=provider, api=api or provider.apis[0], model=choice.model or provider.model)

    async def _first(self, api: ModelApi | None, agent: str) -> ChosenModel:
        """Return the first that speaks it: of the settings, or with a key; else one that lacks nothing but a key."""
        assert api is not None, "asked for"
        able = [it for it in self.providers if api in it.apis]
        ready = [it for it in able if it.in_settings or await self._where_key_is(it)]
        if not able:
            raise UsageError(
                f"the agent {agent} speaks the protocol {api} to its model, and no provider does",
                hint="add one to [models] in Cloister's settings",
            )
        provider = (ready or able)[0]
        return ChosenModel(provider=provider, api=api, model=provider.model)

    def _check_reach(self, provider: ModelProvider, environment: Environment) -> None:
        """Refuse at once what the proxy would refuse at each call."""
        base, ceiling = provider.base, self.ceiling
        if base.is_own_address:
            return  # no list holds addresses
        what = f"{base.host}, where the provider {provider.name} is"
        if (denied := host_matches(base.host, environment.network.deny)) is not None:
            raise UsageError(
                f"network.deny of environment {environment.name} holds {denied}, and so {what}",
                hint=f'remove "{denied}" from network.deny, or ask for another with --model',
            )
        if (denied := host_matches(base.host, ceiling.deny)) is not None:
            raise UsageError(f"the operator's network_deny holds {denied}, and so {what}")
        if ceiling.allow is not None and host_matches(base.host, ceiling.allow) is None:
            raise UsageError(
                f"the operator's network_allow does not hold {what}",
                hint=f'add "{base.host}" to network_allow in Cloister\'s settings',
            )

    async def _find_key(self, provider: ModelProvider) -> SecretValue | None:
        source = provider.key
        if source.file is not None:
            return _read_key(provider.name, source.file)
        if source.variable is not None:
            value = self.environ.get(source.variable)
            if value is None:
                raise UsageError(
                    f"the provider {provider.name} has its key in the variable {source.variable}, which the worker's "
                    "environment does not have"
                )
            return SecretValue(value.strip())
        return await self.vault.find(KEY_PLACE, provider.key_name)

    async def _where_key_is(self, provider: ModelProvider) -> str:
        source = provider.key
        if source.absent:
            return "not needed"
        if source.value is not None:
            return "settings"
        if source.file is not None:
            return str(source.file)
        if source.variable is not None:
            return f"${source.variable}"
        kept = await self.vault.list(KEY_PLACE)
        return "vault" if any(secret.name == provider.key_name for secret in kept) else ""


def _read_key(name: str, path: Path) -> SecretValue:
    try:
        mode = path.stat().st_mode
        raw = path.read_bytes()[:_LARGEST_KEY]
        key = raw.decode("ascii").strip()
    except OSError as error:
        raise UsageError(f"the key file {path} of the provider {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"the key file {path} of the provider {name} holds more than a key") from None
    if mode & 0o007:
        raise UsageError(
            f"everyone on this machine may use {path}, the key file of the provider {name}", hint=f"chmod o= {path}"
        )
    return SecretValue(key)


def _rule(provider: ModelProvider) -> BrokerRule:
    return BrokerRule(hosts=(provider.base.host,), header=provider.header, format=provider.format)


def _grant(chosen: ChosenModel, key: SecretValue, placeholder: str) -> Grant:
    provider = chosen.provider
    base = provider.base
    return Grant(
        name=provider.name,
        value=key,
        placeholder=placeholder,
        hosts=(base.host,),
        header=provider.header,
        format=provider.format,
        door=MODEL_PORT,
        upstream=str(base),
        model=ModelDoor(api=chosen.api, headers=provider.headers, query=base.query, plain=base.plain),
    )


def _check_budget(chosen: ChosenModel, environment: Environment) -> None:
    """Refuse a budget in money where it could not be counted."""
    provider, model = chosen.provider, chosen.model
    if environment.limits.cost is None:
        return
    if not provider.prices or (model is not None and provider.price_of(model) is None):
        which = f"{model} of {provider.name}" if model else f"models of {provider.name}"
        raise UsageError(
            f"limits.cost of environment {environment.name} cannot be kept: the settings have no price of {which}",
            hint=f"add it to models.{provider.name}.prices in Cloister's settings, or use limits.tokens",
        )
