package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pix/nixconf"
)

const settingsPage = "../../docs/settings.md"

// TestSettingsPage compares the page of settings with the table. With -update it writes the page.
func TestSettingsPage(t *testing.T) {
	want := renderSettingsPage()
	if *update {
		if err := os.WriteFile(settingsPage, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/settings.md differs from the table of nixconf; go test ./cmd/pix -run TestSettingsPage -update writes it")
	}
}

// The command reads the settings that the table says pix obeys, and no others.
func TestObeyedSettingsAreRead(t *testing.T) {
	read := make(map[string]bool)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	reading := regexp.MustCompile(`\.(Bool|Words|Uint|Int|Text|Seconds|Milliseconds|SandboxPaths|Get)\("([a-z0-9-]+)"\)`)
	for _, file := range append(files, "../../nixconf/conf.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reading.FindAllStringSubmatch(string(text), -1) {
			read[m[2]] = true
		}
	}
	for _, s := range nixconf.Settings() {
		if read[s.Name] != (s.By != "") {
			t.Errorf("%s: read by the command: %v, obeyed by %q in the table", s.Name, read[s.Name], s.By)
		}
	}
	for _, name := range clientSettings {
		if who := nixconf.Find(name).Who; who == nixconf.ConfOnly || !read[name] {
			t.Errorf("clients cannot set %s: %v", name, who)
		}
	}
}

const settingsIntro = `# Settings

<!-- Generated from the table of package nixconf by go test ./cmd/pix -run TestSettingsPage -update: do not edit. -->

pix reads the same configuration as Nix: nix.conf of the system and of the user, and NIX_CONFIG, with the same grammar. It
knows every setting of Nix 2.34, and the new ones of 2.35 and 2.36. An unknown setting causes a warning. An invalid value is
an error only in the verbs that need the setting. "pix config" prints all settings with their values on this machine, and where
each value comes from.

A client of "pix daemon" can change settings for its calls. "All clients" includes untrusted clients; "trusted clients" are
the clients of the users in trusted-users. Clients cannot change the other settings, because the daemon opens its store and its
caches once for all clients.

`

func renderSettingsPage() string {
	var b strings.Builder
	b.WriteString(settingsIntro)
	b.WriteString("## Settings that pix obeys\n\n| setting | type | default | may be set by | obeyed by |\n|---|---|---|---|---|\n")
	for _, s := range nixconf.Settings() {
		if s.By != "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", namesOf(s), s.Type, defaultOf(s), s.Who, s.By)
		}
	}
	b.WriteString("\n## Settings that pix does not obey\n\n| setting | type | default | may be set by | why not |\n|---|---|---|---|---|\n")
	for _, s := range nixconf.Settings() {
		if s.By == "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", namesOf(s), s.Type, defaultOf(s), s.Who, s.Reason)
		}
	}
	return b.String()
}

// namesOf returns the name of a setting and its aliases.
func namesOf(s nixconf.Setting) string {
	name := "`" + s.Name + "`"
	if len(s.Aliases) > 0 {
		name += ", `" + strings.Join(s.Aliases, "`, `") + "`"
	}
	if s.Feature != "" {
		name += " (needs the experimental feature `" + s.Feature + "`)"
	}
	return name
}

func defaultOf(s nixconf.Setting) string {
	quoted := func(text string) string {
		if text == "" {
			return "nothing"
		}
		return "`" + text + "`"
	}
	if s.Nix != "" {
		return quoted(s.Default) + " (Nix: " + quoted(s.Nix) + ")"
	}
	return quoted(s.Default)
}
