package main

import (
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"pix/activity"
	"pix/binarycache"
)

// requestAdvice returns what to add to the message about a request that a cache refused, or "".
func requestAdvice(err error) string {
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		return "; if you trust it, name a file with its certificate in NIX_SSL_CERT_FILE, or as ssl-cert-file in nix.conf"
	}
	if failure, ok := errors.AsType[*binarycache.RequestError](err); ok && failure.Status == http.StatusUnauthorized {
		return "; put a valid login for this host into the netrc file, which the setting netrc-file names ('pix docs pushing#logins')"
	}
	return ""
}

// ownAdvice returns a message of a store with the commands of pix in place of the commands of Nix that it advises.
// A store cannot do that itself: its messages are Nix's for all clients.
func ownAdvice(message string) string {
	message = nixAdvice.Replace(message)
	if strings.Contains(message, "connecting to the Nix daemon at 'ssh-ng://") {
		message = noDaemon.Replace(message)
	}
	// A derivation follows "nix log", sometimes on the next line. Any other mention is output of a builder.
	const logs = "For full logs, run"
	if before, after, ok := strings.Cut(message, logs); ok {
		message = before + logs + nixLogs.Replace(after)
	}
	return message
}

const daemonAdvice = "; if pix is there, add ?remote-program=pix%20daemon to the URI"

var (
	nixAdvice = strings.NewReplacer(
		"To find out why, use: nix-store --query --roots and nix-store --query --referrers", "To find out why, use: pix roots and pix referrers",
		"To find out why, use: nix-store --query --roots", "To find out why, use: pix roots",
		"is world-writable or a symlink. That's not allowed for security.",
		"is world-writable or a symlink. That's not allowed for security. Set build-dir in nix.conf to a directory that only root or this user can replace.",
		"`nix-store --verify --check-contents --repair`", "`pix verify-store --check-contents --repair`",
	)
	// A machine may have pix, and lack the program that ssh-ng:// runs by default.
	noDaemon = strings.NewReplacer(
		`exec: "nix-daemon": executable file not found in $PATH`, "the program 'nix-daemon' is not in PATH"+daemonAdvice,
		"the program 'nix-daemon' is not in PATH", "the program 'nix-daemon' is not in PATH"+daemonAdvice,
		"nix-daemon: command not found", "nix-daemon: command not found"+daemonAdvice,
		"nix-daemon: not found", "nix-daemon: not found"+daemonAdvice,
	)
	nixLogs = strings.NewReplacer("nix log /", "pix log /", "nix-store -l /", "pix log /")
)

// withOwnAdvice returns a handler that calls [ownAdvice] on log lines before h handles them.
func withOwnAdvice(h activity.Handler) activity.Handler {
	return activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok {
			l.Text = ownAdvice(l.Text)
			e = l
		}
		h.HandleEvent(e)
	})
}
