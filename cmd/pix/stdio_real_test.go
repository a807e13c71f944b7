package main

import (
	"strings"
	"testing"

	"pix/internal/realnix"
)

// Stock clients of ssh-ng get the same results from pix daemon --stdio as from nix-daemon --stdio, with the flags and store
// parameters that they pass.
func TestStdioAnswersAsNix(t *testing.T) {
	world := makeWorld(t)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if olderThan(s, "2.8") {
			t.Skip("Nix 2.3 has no ssh-ng")
		}
		t.Parallel()
		conversation, opts := sshConversation, new(realnix.Options)
		if !olderThan(s, "2.26") {
			conversation += mountedConversation
			opts.Config = map[string]string{"experimental-features": "nix-command mounted-ssh-store"}
		}
		var answers [2][]answer
		for i, program := range []string{"nix-daemon", "/tmp/pix%20daemon"} {
			d := realnix.Start(t, s, opts)
			installPix(t, d, "/tmp/pix")
			w := *world
			w.paths = map[string]string{
				"remote":  "ssh-ng://localhost?remote-program=" + program + "&remote-store=" + remoteStore,
				"proxy":   "ssh-ng://localhost?remote-program=" + program + "&remote-store=daemon",
				"mounted": "mounted-ssh-ng://localhost?remote-program=" + program + "&remote-store=daemon",
			}
			for name, path := range world.paths {
				w.paths[name] = path
			}
			answers[i] = converse(t, d, &d.Client, &w, conversation)
		}
		for i := range answers[1] {
			answers[0][i].Stderr, answers[1][i].Stderr = "", ""
			if diff := diffAnswers(answers[0][i], answers[1][i]); diff != "" {
				t.Errorf("%s (-nix +pix):\n%s", answers[1][i].Command, diff)
			}
		}
	})
}

// olderThan reports whether the Nix of a suite is older than a version such as 2.8.
func olderThan(s realnix.Suite, version string) bool {
	minor := func(v string) string {
		fields := strings.Split(v, ".")
		return strings.Repeat("0", 3-len(fields[1])) + fields[1]
	}
	return minor(s.Version) < minor(version)
}

// remoteStore is a store URI with parameters, encoded as a parameter of another URI.
const remoteStore = "local%3Froot%3D/root/remote%26store%3D/nix/store%26system-features%3Dkvm%2520big%26path-info-cache-size%3D0"

const sshConversation = `
nix-store --import < export > /dev/null
nix copy --no-check-sigs --to "$remote" $top
nix path-info --store "$remote" -r $top
nix path-info --store "$remote" --json $top
nix path-info --store "$remote" $absent
nix path-info --store "$remote" --all | sort
nix store ls --store "$remote" -lR $top
nix store cat --store "$remote" $top
nix store dump-path --store "$remote" $top | sha256sum
nix store add-path --store "$remote" tree
nix store add-file --store "$remote" hello
nix store add-file --store "$remote" --name 'bad name' hello
nix copy --no-check-sigs --derivation --to "$remote" $drv
nix build --store "$remote" --no-link $top
nix build --store "$remote" --no-link $absent
nix store verify --store "$remote" --no-trust $top
nix store sign --store "$remote" -k key $top
nix path-info --store "$remote" --sigs $top
nix store gc --store "$remote" --dry-run
nix store gc --store "$remote" | sed 's/[0-9.]* MiB/N MiB/'
nix path-info --store "$remote" --all
nix path-info --store "$proxy" -r $top
nix store add-path --store "$proxy" tree
nix build --store "$proxy" --no-link $top
nix copy --no-check-sigs --from "$proxy" --to "$remote" $top
nix path-info --store "$remote" -r $top
`

// mountedConversation is for a client that can read the files of the store. Such a client passes --process-ops.
const mountedConversation = `
nix path-info --store "$mounted" -r $top
nix store cat --store "$mounted" $top
nix build --store "$mounted" -o mounted $top
readlink mounted
nix-store -q --roots $top
nix store add-path --store "$mounted" tree
`
