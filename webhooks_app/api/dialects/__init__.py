"""REST APIs as other products document theirs, for a product that moves here and may not change what its customers call.

One file a dialect: its paths (as `urlpatterns`, mounted under any prefix), its shapes and its errors, and the view that
answers for other paths where the prefix is its own (see `webhooks_app.api.mount`). What happens is the same as in the
standard API: the views call `actions/`.
"""
