"""The sample app's one form."""

from django import forms


class MessageForm(forms.Form):
    """Messages to send, and the behaviour of the simulated carrier."""

    OUTCOMES = (
        ("delivered", "is delivered"),
        ("failed", "fails: number not in service"),
        ("crash", "crashes before the commit: nothing is sent, and no webhook either"),
    )
    recipient = forms.RegexField(
        r"^\+[0-9]{6,15}$", label="To", initial="+4915112345678", help_text="A number with its country code."
    )
    text = forms.CharField(max_length=480, initial="Your parcel is on its way.")
    copies = forms.IntegerField(min_value=1, max_value=500, initial=1, help_text="More than one makes some traffic.")
    outcome = forms.ChoiceField(choices=OUTCOMES, label="The message", widget=forms.RadioSelect, initial="delivered")
