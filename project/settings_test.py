from project.settings import *  # noqa: F403
