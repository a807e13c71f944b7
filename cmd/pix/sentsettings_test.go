package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pix/nixconf"
)

// A daemon gets settings only if the user gave some, and then what the user gave.
func TestSentSettings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"nix.conf": "max-jobs = 4\ntimeout = 9", "mine": "cores = 3\ntimeout = 7"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, config, file string
		flags              []nixconf.Assignment
		sent               bool
		jobs, cores        uint32
		overrides          map[string]string
	}{
		{name: "nothing but nix.conf"},
		{name: "a flag", flags: []nixconf.Assignment{{Name: "keep-going", Value: "true"}}, sent: true, jobs: 4},
		{name: "no jobs", flags: []nixconf.Assignment{{Name: "max-jobs", Value: "0"}}, sent: true},
		{name: "a file of the user", file: "mine", sent: true, jobs: 4, cores: 3, overrides: map[string]string{"timeout": "7"}},
		{name: "NIX_CONFIG", config: "max-jobs = 2", sent: true, jobs: 2},
		{name: "a setting of the daemon alone", config: "build-users-group = x"},
		{
			name: "a list", flags: []nixconf.Assignment{{Name: "extra-substituters", Value: "https://x"}, {Name: "store", Value: "daemon"}},
			sent: true, jobs: 4, overrides: map[string]string{"extra-substituters": "https://x"},
		},
	} {
		env := map[string]string{"NIX_CONF_DIR": dir, "NIX_USER_CONF_FILES": filepath.Join(dir, "none"+test.file), "NIX_CONFIG": test.config}
		if test.file != "" {
			env["NIX_USER_CONF_FILES"] = filepath.Join(dir, test.file)
		}
		a := newApp(nil, io.Discard, io.Discard, func(name string) string { return env[name] })
		for _, f := range test.flags {
			f.Source = nixconf.FromCommandLine
			a.flags.options = append(a.flags.options, f)
		}
		s, err := a.sentSettings()
		switch {
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case (s != nil) != test.sent:
			t.Errorf("%s: settings are sent: %v, want %v", test.name, s != nil, test.sent)
		case s != nil && (s.MaxBuildJobs != test.jobs || s.BuildCores != test.cores || !maps.Equal(s.Overrides, test.overrides)):
			t.Errorf("%s: sent %+v", test.name, s)
		}
	}
}

func TestJoinOptions(t *testing.T) {
	root := newRoot(newApp(nil, io.Discard, io.Discard, func(string) string { return "" }))
	for _, test := range []struct{ args, want []string }{
		{[]string{"build", "--option", "cores", "2", "x"}, []string{"build", "--option=cores=2", "x"}},
		{[]string{"--option", "cores", "2", "build", "x"}, []string{"--option=cores=2", "build", "x"}},
		{[]string{"build", "--", "--option", "a", "b"}, []string{"build", "--", "--option", "a", "b"}},
		{[]string{"run", "--bin", "x", "--option", "cores", "2", "y", "--option", "a", "b"}, []string{"run", "--bin", "x", "--option=cores=2", "y", "--option", "a", "b"}},
		{[]string{"run", "--store", "/s", "y", "--option", "a", "b"}, []string{"run", "--store", "/s", "y", "--option", "a", "b"}},
		{[]string{"build", "--out-link", "--option", "cores", "2"}, []string{"build", "--out-link", "--option", "cores", "2"}},
		{[]string{"build", "--option", "cores"}, []string{"build", "--option", "cores"}},
	} {
		if got := joinOptions(root, test.args); !slices.Equal(got, test.want) {
			t.Errorf("joinOptions(%q) = %q, want %q", test.args, got, test.want)
		}
	}
}
