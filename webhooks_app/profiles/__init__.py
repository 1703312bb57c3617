"""The profiles, one file each: plain values. A host adds its own through WEBHOOKS["PROFILES"].

Importing this needs no Django: receivers, which may have none, verify with the built-in ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from webhooks_app.core.profile import Profile
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.profiles import gateway, messages_dev, msgflash, msgine, muchaw, standard

BUILT_IN: dict[str, Profile] = {
    module.PROFILE.name: module.PROFILE for module in (standard, msgflash, msgine, messages_dev, muchaw, gateway)
}


def get_profile(name: str) -> Profile:
    """The profile of that name; one from the settings goes before a built-in one.

    Raises ConfigurationError, naming the profiles there are, where none is called so.
    """
    dotted_path = _hosts_own().get(name)
    if dotted_path is not None:
        return _load(name, dotted_path)
    profile = BUILT_IN.get(name)
    if profile is None:
        raise ConfigurationError(f"There is no profile {name!r}. Known profiles: {', '.join(profile_names())}.")
    return profile


def profile_names() -> tuple[str, ...]:
    """Every name that `get_profile` knows, sorted."""
    return tuple(sorted({*BUILT_IN, *_hosts_own()}))


def _hosts_own() -> Mapping[str, str]:
    """Name → dotted path, as the settings have them."""
    from webhooks_app import conf

    return conf.settings().PROFILES


@lru_cache(maxsize=64)
def _load(name: str, dotted_path: str) -> Profile:
    from django.utils.module_loading import import_string

    try:
        profile = import_string(dotted_path)
    except ImportError as error:
        raise ConfigurationError(
            f"WEBHOOKS['PROFILES'][{name!r}]: {dotted_path!r} cannot be imported: {error}", field="PROFILES"
        ) from error
    if not isinstance(profile, Profile):
        raise ConfigurationError(f"WEBHOOKS['PROFILES'][{name!r}]: {dotted_path!r} is not a Profile.", field="PROFILES")
    return profile
