"""Admin pages of the sample app."""

from django.contrib import admin

from project.messaging.models import Message, Organisation


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    filter_horizontal = ["members", "viewers"]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["id", "organisation", "recipient", "status", "created_at"]
    list_filter = ["status"]
    list_select_related = ["organisation"]
