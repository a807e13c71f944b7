package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/realnix"
)

// staticPix builds a pix that runs in any root directory, and returns its file.
var staticPix = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pix-static")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "pix")
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

// installPix copies a static pix into the world of a real Nix. Another process copies it: a file that this process has open
// for writing can be inherited by a process that another test starts, and then it cannot be executed.
func installPix(t *testing.T, d *realnix.Daemon, name string) {
	t.Helper()
	program, err := staticPix()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", program, d.HostPath(name)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// startPix starts pix daemon in the world of a real Nix, with its own store.
func startPix(t *testing.T, config map[string]string) *realnix.Daemon {
	t.Helper()
	program, err := staticPix()
	if err != nil {
		t.Fatal(err)
	}
	return realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Program: program, Args: []string{"daemon"}, Config: config, Env: []string{"NIX_STATE_DIR=/nix/var/nix"}})
}

// An answer is the result of a command.
type answer struct {
	Command, Stdout, Stderr string
	Code                    int
}

// Stock clients get the same results and exit codes from pix daemon as from the daemon of Nix 2.34. Clients of 2.34 get the
// same messages, too. Older clients do not understand all messages of a daemon of 2.34.
func TestDaemonAnswersAsNix(t *testing.T) {
	world := makeWorld(t)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		t.Parallel()
		nix := realnix.Start(t, realnix.Get(t, "sid"), nil)
		pix := startPix(t, nil)
		conversation := conversation
		if s.Name == "sid" {
			conversation += mistakes
		}
		want := converse(t, nix, nix.ClientOf(t, s), world, conversation)
		got := converse(t, pix, pix.ClientOf(t, s), world, conversation)
		compareAnswers(t, s, want, got)
		if t.Failed() {
			t.Logf("messages of pix:\n%s", regexp.MustCompile("accepted connection.*\n").ReplaceAllString(pix.Stderr(), ""))
		}
	})
}

// QueryMissing skips dynamic derivations that are not built yet, with the warning of Nix.
func TestDynamicDerivationsAsNix(t *testing.T) {
	world := makeWorld(t)
	config := map[string]string{"experimental-features": "nix-command ca-derivations dynamic-derivations"}
	const conversation = `
nix-store --import < export > /dev/null
nix build --dry-run "$drv^out^out"
nix build --dry-run "$drv^out^out" "$drv^out"
`
	s := realnix.Get(t, "sid")
	nix, pix := realnix.Start(t, s, &realnix.Options{Config: config}), startPix(t, config)
	compareAnswers(t, s, converse(t, nix, &nix.Client, world, conversation), converse(t, pix, &pix.Client, world, conversation))
}

// compareAnswers compares the answers of Nix and of pix to clients of a version.
func compareAnswers(t *testing.T, s realnix.Suite, want, got []answer) {
	t.Helper()
	for i := range want {
		if s.Name != "sid" {
			want[i].Stderr, got[i].Stderr = "", ""
		}
		// Nix 2.8 computes content addresses with the positions of self-references. pix accepts these, Nix 2.34 does not.
		if s.Name == "bookworm" && strings.HasPrefix(want[i].Command, "nix store make-content-addressed") && want[i].Code == 1 && got[i].Code == 0 {
			continue
		}
		if diff := diffAnswers(want[i], got[i]); diff != "" {
			t.Errorf("%s (-nix +pix):\n%s", want[i].Command, diff)
		}
	}
}

// A world is the data of a conversation.
type world struct {
	export []byte            // an export of derivations and their outputs
	key    []byte            // a secret key
	paths  map[string]string // values of variables, by name
}

// makeWorld builds derivations with a real Nix.
func makeWorld(t *testing.T) *world {
	t.Helper()
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	if err := os.WriteFile(d.HostPath("/tmp/built.nix"), []byte(builtNix), 0o666); err != nil {
		t.Fatal(err)
	}
	w := &world{paths: make(map[string]string)}
	outs := strings.Fields(d.MustRun(t, "nix-build", "--no-out-link", "/tmp/built.nix"))
	w.paths["top"], w.paths["doc"] = outs[0], outs[1]
	w.paths["drv"] = strings.TrimSpace(d.MustRun(t, "nix-store", "--query", "--deriver", outs[0]))
	w.export = []byte(d.MustRun(t, "sh", "-c", "nix-store --export $(nix-store -qR --include-outputs "+w.paths["drv"]+")"))
	w.key = []byte(d.MustRun(t, "nix", "key", "generate-secret", "--key-name", "test-1"))
	return w
}

const builtNix = `
let
  make = name: text: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh";
    outputs = [ "out" "doc" ];
    args = [ "-c" "echo building ${name}; echo ${text} > $out; echo $out > $doc" ];
  };
  dep = make "dep" "no-references";
  top = make "top" "${dep} and ${builtins.toFile "text" "a text"} and $out";
in [ top top.doc ]
`

// conversation is the list of commands that clients run. A command that begins with @ prints lines in any order, and one that
// begins with ! has messages that are not compared.
const conversation = `
nix-store --version
nix-store --add hello
nix-store --add tree
nix-store --add-fixed sha256 hello
nix-store --add-fixed --recursive sha1 tree
nix-store --add-fixed md5 hello
nix-store --add nonexistent
rm -f /nix/store/*.lock
nix-store --add 'bad name' 2>/dev/null
nix-store -q --hash $(nix-store --add tree)
nix-store -q --size $(nix-store --add tree)
nix-store -q --references $(nix-store --add tree)
nix-store --dump $(nix-store --add tree) | sha256sum
nix-store --restore out < <(nix-store --dump tree)
nix-store --check-validity $(nix-store --add hello)
nix-store --check-validity $absent
nix-store --check-validity --print-invalid $absent $(nix-store --add hello)
nix-store -q --hash $absent
nix-store -q --references $absent
nix-store --import < export
nix-store -qR $top
nix-store -q --requisites --include-outputs $drv
nix-store -q --references $top
nix-store -q --referrers $top
@nix-store -q --referrers-closure $drv
nix-store -q --deriver $top
nix-store -q --deriver $(nix-store --add hello)
nix-store -q --valid-derivers $top
nix-store -q --outputs $drv
nix-store -q --outputs --use-output $drv
nix-store -q --hash $top $doc
nix-store -q --size $top $doc
nix-store -q --tree $top
nix-store -q --graph $top
nix-store -q --binding name $drv
nix-store -q --roots $top
nix-store --dump $top | sha256sum
nix-store --export $(nix-store -qR $top) | sha256sum
nix-store --export $absent
nix-store --import < hello
head -c 1000 export | nix-store --import
sed s/no-references/NO-REFERENCES/ export | nix-store --import
nix-store --realise $top
nix-store --realise $drv
nix-store --realise --dry-run $drv
nix-store --realise $absent
nix-store --realise --add-root roots/top --indirect $top
nix-store -q --roots $top
@nix-store --gc --print-roots | grep -v /proc
readlink roots/top
nix-store --delete $top
nix-store --delete $doc
nix-store --check-validity $doc
nix-store --import < export
@nix-store --gc --print-live
@nix-store --gc --print-dead
nix-store --gc --max-freed 0
nix-store --gc --max-freed 1
nix-store --import < export > /dev/null
rm roots/top
@nix-store --gc --print-live
@nix-store --gc --print-roots | grep -v /proc
@nix-store --gc
@nix-store --gc --print-dead
nix-store --import < export
nix-store --verify
nix-store --verify --check-contents
nix-store --verify-path $top
nix-store --verify-path $absent
chmod u+w $doc; echo changed > $doc; chmod 444 $doc; touch -d @1 $doc
nix-store --verify-path $doc
nix-store --verify --check-contents
nix-store --delete $doc
nix-store --import < export > /dev/null
nix-store --verify --check-contents
nix-store --optimise
test $(stat -c %h $(nix-store --add hello)) -ge 1
nix-store --query --hash $top
nix-instantiate large.nix | sort | sha256sum
nix-instantiate --eval --expr 'builtins.readFile (builtins.toFile "x" "contents")'
nix-instantiate --expr 'derivation { name = "x"; system = "s"; builder = "b"; outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashAlgo = "sha256"; }'
nix-store -q --tree $(nix-instantiate large.nix | tail -n 1) | sha256sum
nix-store -qR $(nix-instantiate large.nix | tail -n 1) | wc -l
nix-store -q --graphml $top | sha256sum
nix-store --read-log $drv
nix-store --load-db < /dev/null
nix-store --dump-db $top
nix-store --print-env $drv
nix-store --generate-binary-cache-key
nix path-info $top $absent
nix path-info --json $top
nix path-info --json --closure-size $top
nix path-info -rsSh $top
nix path-info --all | sort
nix store sign -k key $top $doc
nix store sign --key-file key $top $doc
nix path-info --sigs $top
nix path-info --json $top $doc
nix store verify --trusted-public-keys '' $top
nix store verify --trusted-public-keys "$(cat key.pub)" $top $doc
nix store verify --no-trust $top $doc
nix store verify --no-trust --no-contents $absent
nix store verify -r --no-trust $top
nix copy --no-recursive --to /root/other $(nix-store -q --references $top | grep text)
nix copy --no-check-sigs --to /root/other $top
nix copy --no-check-sigs --to /root/other $drv
nix-store --delete $drv
nix-store --delete --ignore-liveness $top
nix-store --delete $doc $top
nix copy --from /root/other $top
nix copy --no-check-sigs --from /root/other $top
nix copy --no-check-sigs --derivation --from /root/other $drv
nix copy --no-check-sigs --from /root/other $drv^doc
nix path-info --json $top
nix store ping
nix store info
nix store info --json
nix store ls -lR $top
nix store ls $doc
nix store cat $top
nix store cat $absent
nix store dump-path $top | sha256sum
nix store add-file hello
nix store add-path tree
nix store add --mode flat hello
nix store add --mode text hello
nix store add --mode nar --hash-algo sha1 tree
nix store add --mode nar --hash-algo blake3 tree
nix store add --mode git tree
nix store add-file --name 'bad name' hello
nix store make-content-addressed $top
nix store make-content-addressed --json $top
nix store diff-closures $top $doc
nix store optimise
nix store repair $top
nix store delete $doc
nix store gc --max 1
nix store copy-log --from /root/other $drv
nix store copy-log --to daemon --from file:///root/logs $drv
nix log $drv
nix log $top
nix derivation show $drv
nix show-derivation $drv
nix why-depends $top $doc
nix-store --import < export > /dev/null
nix build --no-link --json $drv
nix build --no-link $drv^out
nix build --dry-run $drv^*
nix build --no-link $top
nix build -o result $top
nix-store -q --roots $top
nix build --no-link $absent
nix eval --raw --impure --expr "builtins.storePath \"$top\""
nix eval --raw --impure --expr 'builtins.path { path = ./tree; name = "named"; }'
nix-prefetch-url --print-path file:///root/try/hello
nix-env --profile /root/try/profile --set $top
nix-env --profile /root/try/profile --list-generations | wc -l
nix-env --profile /root/try/profile --rollback
@nix-store --gc --print-roots | grep -v /proc
nix-collect-garbage 2> /dev/null | sed 's/^[0-9]* store/N store/'
@nix-store --gc --print-live
nix-store --import < export > /dev/null
nix-store --realise --ignore-unknown $absent
nix-store --realise $drv!nope
nix-store --realise $drv!nope $top
nix build --no-link $drv^nope
nix build --no-link $drv^nope,out $top
nix build --no-link --json --keep-going $drv^nope $doc
nix-store --realise $drv --add-root r2
nix-store --realise $drv!doc
nix-store --delete $doc
nix-store --import < export > /dev/null
nix-store --query --outputs $top
nix-store --query --deriver $absent
nix-store --query --referrers $absent
nix-store --query --valid-derivers $absent
nix-store --query --roots $absent
nix-store --query --binding system $drv
nix-store --query --binding nonexistent $drv
nix-store --query --hash /nix/store/bad
nix-store --query --hash $top/x
nix-store --query --requisites $top $doc $drv
nix-store --query --tree $drv
nix-store --query --graph $drv
nix-store --dump $absent
nix-store --dump $top | nix-store --restore out3; cat out3
nix-store --add-fixed sha256 --recursive hello tree
nix-store --check-validity $top $doc
nix-store --read-log $absent
nix-store --add tree --add-root r3
nix-store --register-validity < /dev/null
nix-store --init
nix-instantiate --eval --expr 'builtins.pathExists (builtins.storePath "'$top'")'
nix-instantiate --eval --expr 'builtins.readDir ./tree'
nix-instantiate --eval --strict --expr 'builtins.attrNames (builtins.readDir (builtins.toPath (toString ./tree)))'
nix-instantiate --eval --expr 'builtins.hashFile "sha256" ./hello'
nix-instantiate --eval --expr '"${./tree}"'
nix-instantiate --eval --expr 'builtins.filterSource (p: t: t != "symlink") ./tree'
nix-instantiate --eval --expr 'import (builtins.toFile "x.nix" "1 + 1")'
nix-instantiate --eval --expr 'builtins.fetchurl "file:///root/try/hello"'
nix-instantiate --eval --expr 'builtins.fetchTarball "file:///root/try/nonexistent"'
nix-instantiate --expr 'derivation { name = "fod"; system = "s"; builder = "b"; outputHashMode = "recursive"; outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; }'
nix-instantiate --expr 'derivation { name = "ca"; system = "s"; builder = "b"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }'
nix-instantiate --expr 'derivation { name = "multi"; system = "s"; builder = "b"; outputs = [ "out" "dev" "lib" ]; a = ./hello; __structuredAttrs = true; }'
nix-prefetch-url --type sha1 file:///root/try/hello
nix-prefetch-url --name foo --print-path file:///root/try/hello
nix store prefetch-file --json file:///root/try/hello
nix store prefetch-file --executable file:///root/try/hello
nix store prefetch-file --hash-type sha512 file:///root/try/hello
nix store copy-sigs -s /root/other $top
nix store verify --no-contents --sigs-needed 1 $top
nix store sign --all -k key
nix path-info --derivation $top
nix path-info --json --json-format 1 $top
nix path-info -r $drv
nix path-info $drv^*
nix derivation add < /dev/null
nix derivation show $drv | nix derivation add
nix derivation show -r $drv | sha256sum
nix derivation show $top
nix store delete $absent
nix store delete --recursive $doc
nix store path-from-hash-part $(basename $top | cut -c1-32)
nix store path-from-hash-part g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q
nix store ls --json -R $top
nix store ls --json -R $(nix-store --add tree)
nix store cat $(nix-store --add tree)/sub/x
nix store cat $(nix-store --add tree)/sub
nix store dump-path $absent
nix store make-content-addressed --to /root/other $top
nix-store --import < export > /dev/null
nix copy --to file:///root/cache1 $top
nix copy --to 'file:///root/cache1?compression=none' $drv
nix copy --from file:///root/cache1 $top
nix copy --no-check-sigs --from file:///root/cache1 --all
nix copy --from /root/other $absent
nix copy --to daemon $top
nix-store --export $top > one; nix-store --delete $top; nix-store --import < one
nix build --no-link --json --dry-run $drv^*
nix build --no-link --print-out-paths $drv^doc
nix eval --impure --raw --expr '"${builtins.path { path = ./tree; filter = p: t: t == "directory"; }}"'
nix eval --impure --raw --expr 'builtins.readFile (builtins.storePath "'$top'")'
nix eval --impure --json --expr 'builtins.getContext "${./hello}"'
nix why-depends --all $top $top
nix why-depends $doc $top
nix-store --delete $(nix-store --add hello)
`

// mistakes are commands that fail, or for which Nix prints a warning. Their messages matter, so only clients of 2.34 run
// them.
const mistakes = `
nix-store --import < export > /dev/null
nix store add --mode text --name x.drv drvs/wrong.drv
nix store add --mode text --name x.drv drvs/env.drv
nix store add --mode text --name x.drv drvs/noenv.drv
nix store add --mode text --name x.drv drvs/deferred.drv
nix store add --mode text --name x.drv drvs/defenv.drv
nix store add --mode text --name y.drv drvs/right.drv
nix store add --mode flat --name x.drv drvs/right.drv
nix store add --mode text --name f.drv drvs/fixedpath.drv
nix-store -q --outputs $(nix store add --mode text --name f.drv drvs/fixedpath.drv)
nix store add --mode text --name f.drv drvs/fixedenv.drv
nix store add --mode text --name f.drv drvs/fixednoenv.drv
nix store add --mode text --name f.drv drvs/fixedname.drv
nix store add --mode text --name f.drv drvs/mixed.drv
nix store add --mode text --name f.drv drvs/none.drv
nix store add --mode text --name e.drv drvs/empty
nix store add --mode text --name e.drv drvs/nonsense
nix store add --mode text --name e.drv drvs/De
nix store add --mode text --name e.drv drvs/Dx
nix store add --mode text --name e.drv drvs/cut
nix-store -q --outputs $(nix store add --mode text --name x.drv drvs/defenv.drv)
nix-store --gc > /dev/null 2>&1
nix-store --import < export > /dev/null
nix store add --mode text --references $absent hello
nix store add --name . hello
nix store add --name .x hello
nix store add --name x.lock hello
nix store add --name $(printf '%0250d' 0) hello
nix store add --hash-algo md5 --mode flat hello
nix store add --hash-algo sha512 --mode nar tree
nix store add --hash-algo sha512 --mode text hello
nix store add --hash-algo sha1 --mode git hello
nix-store --add-fixed blake3 hello
nix-store --add-fixed sha3 hello
nix-store --delete nonexistent
nix-store --delete /nix/store
nix-store --delete $top/x
nix-store --query --referrers /nix/store/x
nix-store --realise /nix/store/x.drv
nix-store --realise --repair $top
nix-store --repair-path $top
nix-store --repair-path $absent
nix-store --verify --repair
nix-store --gc --print-dead --max-freed 1
nix-store --gc --print-live --max-freed 0
nix-store --option nosuch x --check-validity $top
nix-store --option sandbox maybe --check-validity $top
nix-store --option max-jobs many --check-validity $top
nix-store --option trusted-public-keys nonsense --check-validity $top
nix-store --option log-lines -5 --check-validity $top
nix-store --max-jobs auto --cores 3 --timeout 5 --max-silent-time 6 --keep-going --keep-failed --fallback --check-validity $top
nix store verify --all --no-trust
nix store verify --no-contents --no-trust $absent
nix store delete --ignore-liveness $top
nix store copy-log --to daemon --from file:///root/nologs $drv
nix store copy-sigs -s /root/other $absent
nix store sign -k key $absent
nix store sign -k nonexistent $top
nix store ls $absent
nix store ls $top/x
nix store cat $top/x
nix store repair $absent
nix store path-from-hash-part tooshort
nix store path-from-hash-part g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3qe
nix store make-content-addressed $absent
nix copy --from daemon --to /root/other2 $absent
nix copy --from /root/other --to daemon --no-recursive $top
nix copy --from /root/other --substitute-on-destination $top
nix copy --from /root/other --no-check-sigs --all
nix path-info --store daemon --closure-size -h $absent $top
nix path-info -S --json $absent
nix build --no-link --repair $top
nix build --no-link --keep-going $absent $top
nix build --no-link -v $drv^*
nix build --no-link $drv^*,nope
nix build --no-link $drv^
nix log $absent
nix derivation show $absent
nix derivation add < drvs/nonsense
nix why-depends $absent $top
nix why-depends $top $absent
nix-collect-garbage --max-freed 1 2>/dev/null | wc -l
nix-collect-garbage -d --dry-run 2>&1 | sort
nix-env --profile /root/try/p2 --set $absent
nix-instantiate --add-root inst --indirect --expr 'derivation { name = "rooted"; system = "s"; builder = "b"; }'
nix-instantiate --expr 'derivation { name = "bad name"; system = "s"; builder = "b"; }'
nix-instantiate --expr 'derivation { name = "bad.drv"; system = "s"; builder = "b"; }'
nix-instantiate --eval --expr 'builtins.toFile "x" "${derivation { name = "d"; system = "s"; builder = "b"; }}"'
nix-instantiate --eval --expr "builtins.storePath \"$absent\""
nix-instantiate --eval --expr 'builtins.path { path = ./tree; sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; }'
nix-instantiate --eval --expr 'builtins.path { path = ./tree; name = "bad name"; }'
nix-prefetch-url --type sha256 file:///root/try/nonexistent
nix-prefetch-url file:///root/try/hello 0000000000000000000000000000000000000000000000000000
`

// prepare is the script that creates the files of the conversation.
const prepare = `
mkdir -p /root/try/roots /root/logs && cd /root/try
printf 'hello world' > hello
printf x > 'bad name'
mkdir -p tree/sub && printf x > tree/sub/x && printf '#!/bin/sh\n' > tree/run && chmod +x tree/run && ln -s sub/x tree/link
cp hello tree/again
mkdir -p drvs && cd drvs
q=/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x
p=/nix/store/s668cfx1vrqfjryf96jj8wfhg7f67dhj-x
printf '%s' 'Derive([("out","'$p'","","")],[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","x"),("out","'$p'"),("system","x86_64-linux")])' > right.drv
sed "s#$p#$q#g" right.drv > wrong.drv
sed "s#(\"out\",\"$p\")#(\"out\",\"$q\")#" right.drv > env.drv
sed "s#,(\"out\",\"$p\")##" right.drv > noenv.drv
sed "s#$p##g" right.drv > deferred.drv
sed "s#(\"out\",\"$p\",#(\"out\",\"\",#" right.drv > defenv.drv
f=/nix/store/i8yf3p9li8bd9rwjsr5nkg63lxs367am-f
printf '%s' 'Derive([("out","'$f'","sha256","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","f"),("out","'$f'"),("system","x86_64-linux")])' > fixed.drv
sed "s#(\"out\",\"$f\",#(\"out\",\"$q\",#" fixed.drv > fixedpath.drv
sed "s#(\"out\",\"$f\")#(\"out\",\"$q\")#" fixed.drv > fixedenv.drv
sed "s#,(\"out\",\"$f\")##" fixed.drv > fixednoenv.drv
sed 's#"out"#"lib"#g' fixed.drv > fixedname.drv
sed "s#\\[(\"out\"#[(\"dev\",\"$p\",\"\",\"\"),(\"out\"#" fixed.drv > mixed.drv
sed 's#^Derive(\[([^)]*)\]#Derive([]#' right.drv > none.drv
: > empty; echo 'Derive(nonsense' > nonsense; printf De > De; printf Dx > Dx; head -c 90 right.drv > cut
`

// largeNix is an expression with many derivations that depend on each other.
const largeNix = `
let
  make = n: derivation {
    name = "large-${toString n}"; system = "x86_64-linux"; builder = "/bin/sh";
    outputs = [ "out" ] ++ (if n / 3 * 3 == n then [ "dev" ] else [ ]);
    source = ./tree; text = builtins.toFile "t-${toString n}" "text ${toString n}";
    inputs = if n < 3 then [ ] else [ (make' (n - 1)) (make' (n - 3)).out ];
  };
  all = builtins.genList make 150;
  make' = n: builtins.elemAt all n;
in [ (make' 149) ]
`

// quietCommands matches the commands that must wait until the daemon serves no client. Nix's daemon has a process for each
// client, which may exist for a moment after the client has ended, with temporary roots and lock files. For pix daemon,
// which has no such processes, a short delay is enough.
var quietCommands = regexp.MustCompile(`--gc|--delete|--roots|nix-collect-garbage|nix store (gc|delete)|\.lock`)

// waitQuiet waits until the daemon has at most this number of processes.
func waitQuiet(t *testing.T, d *realnix.Daemon, processes int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); len(d.Processes()) > processes; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the daemon still has processes of clients that have ended: %v", d.Processes())
		}
	}
}

// converse runs the commands of a conversation, and returns their results.
func converse(t *testing.T, d *realnix.Daemon, client *realnix.Client, w *world, conversation string) []answer {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	processes := len(d.Processes())
	client.MustRun(t, "sh", "-c", prepare)
	must(os.WriteFile(d.HostPath("/root/try/export"), w.export, 0o666))
	must(os.WriteFile(d.HostPath("/root/try/key"), w.key, 0o600))
	must(os.WriteFile(d.HostPath("/root/try/large.nix"), []byte(largeNix), 0o666))
	must(os.WriteFile(d.HostPath("/root/try/builds.nix"), []byte(buildsNix), 0o666))
	client.MustRun(t, "sh", "-c", "cd /root/try && (nix key convert-secret-to-public < key || nix-store --version) > key.pub 2>/dev/null")
	var answers []answer
	for line := range strings.Lines(conversation) {
		line = strings.TrimSpace(line)
		command, unordered := strings.CutPrefix(line, "@")
		command, ignoreStderr := strings.CutPrefix(command, "!")
		if command == "" {
			continue
		}
		if quietCommands.MatchString(command) {
			waitQuiet(t, d, processes)
			time.Sleep(200 * time.Millisecond)
		}
		cmd := client.Command(context.Background(), "bash", "-c", "cd /root/try; set -o pipefail; "+command)
		cmd.Env = append(cmd.Env, "absent=/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent", "NIX_PATH=", "PAGER=cat")
		for name, path := range w.paths {
			cmd.Env = append(cmd.Env, name+"="+path)
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		a := answer{Command: line}
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			a.Code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		a.Stdout = normalize(stdout.String(), unordered)
		if !ignoreStderr {
			a.Stderr = normalize(stderr.String(), true)
		}
		answers = append(answers, a)
	}
	return answers
}

// volatile are the parts of output that differ between runs: times, process ids, versions and colours.
var volatile = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`), ""},
	{regexp.MustCompile(`"(registration|start|stop)Time": ?[0-9]+`), `"${1}Time":0`},
	{regexp.MustCompile(`\{temp:[0-9]+\}`), "{temp:0}"},
	{regexp.MustCompile(`/proc/[0-9]+/`), "/proc/0/"},
	{regexp.MustCompile(`(?m)^Version: .*`), "Version: x"},
	{regexp.MustCompile(`"version": ?"[^"]*"`), `"version":"x"`},
	{regexp.MustCompile(`(note: hard linking is currently saving .*|removing stale .*)\n`), ""},
	{regexp.MustCompile(`(warning: unknown setting .*|warning: .*Git tree.*)\n`), ""},
	{regexp.MustCompile(`nix-build-[0-9]+-[0-9]+|nix-[0-9]+-[0-9]+`), "nix-0-0"},
}

// normalize returns output without its volatile parts. It sorts the lines if their order does not matter.
func normalize(text string, unordered bool) string {
	for _, p := range volatile {
		text = p.pattern.ReplaceAllString(text, p.replacement)
	}
	if unordered {
		lines := strings.SplitAfter(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "")
	}
	return text
}

// diffAnswers returns the differences between two answers, or "".
func diffAnswers(want, got answer) string {
	var b strings.Builder
	if want.Code != got.Code {
		fmt.Fprintf(&b, "exit code %d, want %d\n", got.Code, want.Code)
	}
	for _, part := range []struct{ name, want, got string }{{"stdout", want.Stdout, got.Stdout}, {"stderr", want.Stderr, got.Stderr}} {
		if part.want == part.got {
			continue
		}
		fmt.Fprintf(&b, "%s:\n", part.name)
		wantLines, gotLines := strings.Split(part.want, "\n"), strings.Split(part.got, "\n")
		for _, line := range wantLines {
			if !slices.Contains(gotLines, line) {
				fmt.Fprintf(&b, "  - %s\n", line)
			}
		}
		for _, line := range gotLines {
			if !slices.Contains(wantLines, line) {
				fmt.Fprintf(&b, "  + %s\n", line)
			}
		}
	}
	return b.String()
}
