package main

import (
	"context"
	"maps"
	"os"
	"testing"
	"time"

	"pix/internal/realnix"
)

// proxySocket is the socket of the proxy, in the world of the daemon.
const proxySocket = "/nix/var/nix/proxy/socket"

// startProxy starts pix daemon in front of a real daemon, in its world, until the test ends.
func startProxy(t *testing.T, d *realnix.Daemon, args ...string) {
	t.Helper()
	installPix(t, d, "/root/pix")
	// A replacement for OpenSSH that runs the command on this machine.
	const ssh = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; echo started; exec sh -c \"$*\"\n"
	if err := os.WriteFile(d.HostPath("/root/ssh"), []byte(ssh), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log, err := os.Create(d.HostPath("/root/proxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := d.Command(ctx, append([]string{"/root/pix", "daemon", "--socket", proxySocket}, args...)...)
	cmd.Env = append(cmd.Env, "PATH=/root:/usr/sbin:/usr/bin")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("messages of the proxy:\n%s", text)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(d.HostPath(proxySocket)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not listen")
		}
	}
}

// Stock clients of all versions get the same results from pix daemon in front of a daemon of any version as from
// the daemon itself. Clients of the same version as the daemon get the same messages. pix connects to the daemon by
// its socket and by ssh-ng. With PIX_LONG=1 all combinations of versions are tested.
func TestProxyAnswersAsNix(t *testing.T) {
	world := makeWorld(t)
	const upstream = "unix:///nix/var/nix/daemon-socket/socket"
	realnix.Each(t, func(t *testing.T, behind realnix.Suite) {
		t.Parallel()
		realnix.Each(t, func(t *testing.T, s realnix.Suite) {
			if behind.Name != s.Name && behind.Name != "sid" && s.Name != "sid" && os.Getenv("PIX_LONG") != "1" {
				t.Skip("only with PIX_LONG=1")
			}
			t.Parallel()
			config := make(map[string]string)
			if !olderThan(behind, "2.8") {
				config["experimental-features"] = features
			}
			direct := realnix.Start(t, behind, &realnix.Options{Config: config})
			want := converse(t, direct, direct.ClientOf(t, s), world, proxyConversation)
			uris := map[string]string{"unix": upstream}
			if behind.Name == "sid" && s.Name == "sid" {
				uris["ssh"] = "ssh-ng://localhost?remote-program=nix-daemon&remote-store=local"
			}
			for name, uri := range uris {
				d := realnix.Start(t, behind, &realnix.Options{Config: config})
				startProxy(t, d, "--store", uri)
				through := *world
				through.paths = maps.Clone(world.paths)
				through.paths["NIX_DAEMON_SOCKET_PATH"] = proxySocket
				got := converse(t, d, d.ClientOf(t, s), &through, proxyConversation)
				for i := range want {
					want, got := want[i], got[i]
					if behind.Name != s.Name {
						want.Stderr, got.Stderr = "", ""
						want.Code = min(want.Code, 1) // the protocol has no exit statuses since 1.26
						got.Code = min(got.Code, 1)
					}
					if diff := diffAnswers(want, got); diff != "" {
						t.Errorf("%s, %s (-nix +pix):\n%s", name, want.Command, diff)
					}
				}
			}
		})
	})
}

// proxyConversation uses everything that a proxy passes on. It builds, which the daemon behind the proxy can and
// pix cannot.
const proxyConversation = `
nix-store --import < export
nix-store --add tree
nix-store --add-fixed sha256 hello
nix-store -qR $top
nix-store -q --referrers-closure $drv
nix-store -q --hash $top
nix-store -q --hash $absent
nix-store -q --deriver $top
nix-store -q --valid-derivers $top
nix-store -q --outputs $drv
nix-store --check-validity --print-invalid $absent $top
nix-store --dump $top | sha256sum
nix-store --export $(nix-store -qR $top) | sha256sum
head -c 1000 export | nix-store --import
sed s/no-references/NO-REFERENCES/ export | nix-store --import
nix-store --realise $top
nix-store --realise $drv --check
nix-store --realise --dry-run $drv
nix-build --no-out-link builds.nix -A logs
nix-build --no-out-link builds.nix -A fails
nix-build --no-out-link --keep-going builds.nix -A fails -A more
nix-build --no-out-link builds.nix -A two
nix-build --no-out-link --option timeout 1 builds.nix -A slow
nix-build --no-out-link --max-silent-time 1 builds.nix -A slow
nix-build --no-out-link --cores 7 builds.nix -A cores
cat $(nix-build --no-out-link --cores 3 builds.nix -A cores 2>/dev/null)
nix-store --read-log $(nix-instantiate builds.nix -A logs 2>/dev/null)
nix-build --no-out-link builds.nix -A floating
nix-build --no-out-link builds.nix -A onFloating
nix-store --realise --add-root roots/top --indirect $top
nix-store -q --roots $top
nix-store --delete $top
nix-store --delete $doc
nix-store --import < export > /dev/null
@nix-store --gc --print-live | grep -v lock
@nix-store --gc --print-dead | grep -v -e lock -e links
nix-store --verify
nix-store --verify --check-contents
nix-store --verify-path $top
chmod u+w $doc; echo changed > $doc; chmod 444 $doc; touch -d @1 $doc
nix-store --verify --check-contents
nix-store --repair-path $doc
nix-store --optimise
rm roots/top
nix-store --gc > /dev/null 2>&1
nix-store --check-validity $top
nix-store --import < export
nix path-info --json $top
nix path-info -rsSh $top
nix path-info $absent
nix copy --no-check-sigs --to /root/other $top
nix copy --no-check-sigs --to file:///root/cache $drv
nix-store --delete $doc $top
nix copy --from /root/other $top
nix copy --no-check-sigs --from /root/other $top
nix copy --no-check-sigs --substitute-on-destination --from /root/other $top
nix store ping
nix store add-path tree
nix store add-file --name 'bad name' hello
nix store add --mode text hello
nix store add --mode nar --hash-algo sha512 tree
nix store sign -k key $top
nix store verify --no-trust -r $top
nix store ls -lR $top
nix store cat $top
nix store dump-path $top | sha256sum
nix store make-content-addressed $top
nix store delete $doc
nix store gc --max 1
nix store repair $top
nix store copy-log --from /root/other $drv
nix store diff-closures $top $top
nix log $drv
nix build --no-link -L -f builds.nix logs
nix build --no-link -f builds.nix fails
nix build --no-link --json -f builds.nix two
nix build --no-link --json -f builds.nix floating
nix build --no-link --print-out-paths -f builds.nix onFloating
nix build --no-link --rebuild -f builds.nix two
nix build --no-link $absent
nix build -o result $top
nix why-depends $top $doc
nix-store --option sandbox maybe --check-validity $top
nix-store --option max-jobs many --check-validity $top
nix-collect-garbage > /dev/null 2>&1
@nix-store --gc --print-live | grep -v lock
`

// buildsNix is an expression with builds of all kinds.
const buildsNix = `
let
  make = name: more: script: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin"; args = [ "-c" script ]; } // more);
  ca = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in rec {
  logs = make "logs" { } "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; echo error $i >&2; done; echo > $out";
  fails = make "fails" { } "echo this fails; exit 3";
  more = make "more" { } "echo more > $out";
  two = make "two" { outputs = [ "out" "dev" ]; } "echo $dev > $out; echo dev > $dev";
  slow = make "slow" { } "sleep 20; echo > $out";
  cores = make "cores" { } "echo $NIX_BUILD_CORES > $out";
  floating = make "floating" ca "echo floating > $out";
  onFloating = make "on-floating" ca "echo on ${floating} > $out";
}
`
