package main

import (
	"os"
	"strings"

	"pix/builder"
	"pix/nixconf"
)

// postBuildHook returns the program of post-build-hook, or nil if there is none. As in Nix, it gets the environment of
// this process, and the settings of the call in NIX_CONFIG.
func (a *app) postBuildHook(conf *nixconf.Conf, r *nixconf.Reader) *builder.PostBuildHook {
	program := r.Text("post-build-hook")
	if program == "" {
		return nil
	}
	return &builder.PostBuildHook{Program: program, Env: append(os.Environ(), "NIX_CONFIG="+configText(conf, r))}
}

// configText returns all settings in the format of nix.conf, except those whose experimental feature is off: a Nix that
// reads them would print a warning about each.
func configText(conf *nixconf.Conf, r *nixconf.Reader) string {
	var b strings.Builder
	for _, s := range nixconf.Settings() {
		if s.Feature != "" && !hasFeature(r, s.Feature) {
			continue
		}
		// A line feed in the value of a trusted client would begin another setting.
		b.WriteString(s.Name + " = " + strings.ReplaceAll(conf.Get(s.Name).Text, "\n", " ") + "\n")
	}
	return b.String()
}
