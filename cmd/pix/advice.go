package main

import (
	"strings"

	"pix/activity"
)

// ownAdvice returns a message of a store in which it replaces the commands of Nix that the message advises with those
// of pix. Daemons and stores in a directory use the words of Nix for all clients.
func ownAdvice(message string) string {
	message = nixAdvice.Replace(message)
	// A derivation follows "nix log", sometimes in the next line. Other mentions are the words of a builder.
	const logs = "For full logs, run"
	if before, after, ok := strings.Cut(message, logs); ok {
		message = before + logs + nixLogs.Replace(after)
	}
	return message
}

var (
	nixAdvice = strings.NewReplacer(
		"To find out why, use: nix-store --query --roots and nix-store --query --referrers", "To find out why, use: pix roots and pix referrers",
		"To find out why, use: nix-store --query --roots", "To find out why, use: pix roots",
		"`nix-store --verify --check-contents --repair`", "`pix verify-store --check-contents --repair`",
	)
	nixLogs = strings.NewReplacer("nix log /", "pix log /", "nix-store -l /", "pix log /")
)

// withOwnAdvice returns a handler that passes events on to h, with log lines as [ownAdvice] returns them.
func withOwnAdvice(h activity.Handler) activity.Handler {
	return activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok {
			l.Text = ownAdvice(l.Text)
			e = l
		}
		h.HandleEvent(e)
	})
}
