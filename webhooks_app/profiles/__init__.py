"""The profiles, one file each: plain values. A host adds its own through WEBHOOKS["PROFILES"].

Importing this needs no Django: receivers, which may have none, verify with the built-in ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from webhooks_app.core.profile import Profile
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.profiles import gateway, messages_dev, msgflash, msgine, muchaw, standard
from webhooks_app.profiles.host import HostProfiles

BUILT_IN: dict[str, Profile] = {
    module.PROFILE.name: module.PROFILE for module in (standard, msgflash, msgine, messages_dev, muchaw, gateway)
}
_HOST_PROFILES = HostProfiles()


def get_profile(name: str) -> Profile:
    """Return the profile of that name; one from the settings goes before a built-in one.

    Raises ConfigurationError where there is none, naming those that exist, or where the host's module cannot be imported.
    """
    paths = _hosts_own()
    if name in paths:
        return _HOST_PROFILES.load(name, paths[name])
    profile = BUILT_IN.get(name)
    if profile is None:
        raise ConfigurationError(f"There is no profile {name!r}. Known profiles: {', '.join(profile_names())}.")
    return profile


def retry_policy_of(name: str) -> RetryPolicy:
    """Return the retry policy of that profile, or the standard one where the profile cannot be loaded. Never raises."""
    try:
        return get_profile(name).retry
    except ConfigurationError:
        return RetryPolicy()


def profile_names() -> tuple[str, ...]:
    """Return every name that `get_profile` knows, sorted."""
    return tuple(sorted({*BUILT_IN, *map(str, _hosts_own())}))


def _hosts_own() -> Mapping[str, str]:
    """Name → dotted path, as the settings have them."""
    from webhooks_app import conf

    return conf.settings().PROFILES
