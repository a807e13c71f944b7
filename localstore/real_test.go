package localstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// openReal opens the store of a real Nix.
func openReal(t testing.TB, d *realnix.Daemon, opts Options) *Store {
	t.Helper()
	opts.Root = d.HostPath("/")
	return open(t, opts)
}

// realVerify lets Nix verify the whole store with contents.
func realVerify(t testing.TB, d *realnix.Daemon) {
	t.Helper()
	_, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents")
	if err != nil || strings.Contains(stderr, "error") || strings.Contains(stderr, "disappeared") || strings.Contains(stderr, "modified") {
		t.Errorf("Nix %s finds errors: %v\n%s", d.Version, err, stderr)
	}
}

// realInfos returns the infos of all paths as Nix prints them.
func realInfos(t testing.TB, d *realnix.Daemon) map[storepath.Path]*store.PathInfo {
	t.Helper()
	infos, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte(runLocal(t, d, "nix", "path-info", "--json", "--all")))
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// checkAgree compares the infos of all paths in Nix and in pix.
func checkAgree(t testing.TB, d *realnix.Daemon, s *Store) {
	t.Helper()
	want := realInfos(t, d)
	paths, err := s.QueryAllValidPaths(t.Context())
	if err != nil || len(paths) != len(want) {
		t.Errorf("pix has %d paths, Nix %s has %d; %v", len(paths), d.Version, len(want), err)
	}
	for path, info := range want {
		got, err := s.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Error(err)
			continue
		}
		if infoText(got) != infoText(info) {
			t.Errorf("pix has\n%s\nNix %s has\n%s", infoText(got), d.Version, infoText(info))
		}
	}
	var list []storepath.Path
	for path := range want {
		list = append(list, path)
	}
	slices.Sort(list)
	for _, path := range list {
		checkAgreeOn(t, d, s, path)
	}
}

// checkAgreeOn compares the answers about one path.
func checkAgreeOn(t testing.TB, d *realnix.Daemon, s *Store, path storepath.Path) {
	t.Helper()
	ask := func(question string) string {
		lines := strings.Fields(runLocal(t, d, "nix-store", "-q", question, string(path)))
		slices.Sort(lines)
		return strings.Join(lines, " ")
	}
	join := func(paths []storepath.Path, err error) string {
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(strings.Trim(fmt.Sprint(paths), "[]"))
	}
	check := func(question, got string) {
		t.Helper()
		if want := ask(question); got != want {
			t.Errorf("%s of %s: pix returns %q, Nix %s %q", question, path, got, d.Version, want)
		}
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	check("--references", join(info.References, nil))
	check("--referrers", join(s.QueryReferrers(t.Context(), path)))
	check("--hash", info.NARHash.WithNix32())
	check("--size", fmt.Sprint(info.NARSize))
	if deriver := string(info.Deriver); deriver != "" {
		check("--deriver", deriver)
	} else {
		check("--deriver", "unknown-deriver")
	}
	if path.IsDerivation() {
		outputs, err := s.QueryDerivationOutputMap(t.Context(), path)
		var paths []storepath.Path
		for _, p := range outputs {
			paths = append(paths, p)
		}
		slices.Sort(paths)
		if !slices.Contains(paths, "") { // Nix refuses unknown paths
			check("--outputs", join(paths, err))
		}
	}
	closure := []storepath.Path{}
	for i, err := range store.Closure(t.Context(), s, path) {
		if err != nil {
			t.Fatal(err)
		}
		closure = append(closure, i.Path)
	}
	slices.Sort(closure)
	check("--requisites", join(closure, nil))
}

func infoText(info *store.PathInfo) string {
	return fmt.Sprintf("%s %s %d refs %v deriver %q sigs %v ca %q ultimate %v at %d", info.Path, info.NARHash, info.NARSize,
		info.References, info.Deriver, info.Signatures, info.CA, info.Ultimate, info.RegistrationTime.Unix())
}

// addByContents adds content-addressed objects of all kinds. Some of them refer to dep.
func addByContents(t *testing.T, s *Store, dep storepath.Path) {
	t.Helper()
	for i, c := range []struct {
		m        storepath.Method
		a        nixhash.Algorithm
		contents string
		refs     []storepath.Path
	}{
		{storepath.Text, nixhash.SHA256, "text", []storepath.Path{dep}},
		{storepath.Flat, nixhash.SHA256, strings.Repeat("flat", smallContents), nil},
		{storepath.Flat, nixhash.MD5, "", nil},
		{storepath.Flat, nixhash.SHA512, "flat", nil},
		{storepath.NAR, nixhash.SHA256, string(treeNAR()), []storepath.Path{dep}},
		{storepath.NAR, nixhash.SHA1, string(treeNAR()), nil},
	} {
		if _, err := s.AddToStore(t.Context(), fmt.Sprint("x", i), c.m, c.a, c.refs, strings.NewReader(c.contents), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Paths that pix adds are valid for Nix, which finds no errors and has the same infos.
func TestPixAddsForNix(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, _ layout) {
		key, err := signature.GenerateKey("key-1")
		if err != nil {
			t.Fatal(err)
		}
		s := openReal(t, d, Options{TrustedKeys: signature.NewKeySet(key.Public())})
		dep, err := s.AddTextToStore(t.Context(), "dep", "dep", nil)
		if err != nil {
			t.Fatal(err)
		}
		addByContents(t, s, dep)
		first, _, _ := drvs(t, s)
		signed, archive := object(t, "signed", dep)
		signed.Deriver = first
		signed.References = append(signed.References, signed.Path)
		slices.Sort(signed.References)
		signed.Sign(key)
		if err := s.AddToStoreNAR(t.Context(), signed, bytes.NewReader(archive), nil); err != nil {
			t.Fatal(err)
		}
		many := func(yield func(store.Import, error) bool) {
			var refs []storepath.Path
			for i := range 20 {
				info, archive := object(t, fmt.Sprint("many", i), refs...)
				if !yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) {
					return
				}
				refs = append(refs, info.Path)
			}
		}
		if err := s.AddMultipleToStore(t.Context(), 20, many, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		another, err := signature.GenerateKey("another-1")
		if err == nil {
			err = s.AddSignatures(t.Context(), dep, []string{another.Sign([]byte("x")).String()})
		}
		if err == nil {
			err = s.AddBuildLog(t.Context(), first, strings.NewReader("a log\n"))
		}
		if err != nil {
			t.Fatal(err)
		}
		realVerify(t, d)
		checkAgree(t, d, s)
		checkCanonical(t, s)
		if log := runLocal(t, d, "nix-store", "--read-log", string(first)); log != "a log\n" {
			t.Errorf("the log is %q", log)
		}
		// Nix can add the same paths, which are already valid, and can use them.
		if got := runLocal(t, d, "nix-instantiate", "--eval", "--expr", `builtins.toFile "dep" "dep"`); !strings.Contains(got, string(dep)) {
			t.Errorf("the path in Nix is %s, not %s", got, dep)
		}
		if got := runLocal(t, d, "nix-store", "--dump", string(dep)); got != string(readNAR(t, s, dep)) {
			t.Errorf("the archive is %q", got)
		}
		runLocal(t, d, "nix-store", "--gc")
	})
}

// Paths that Nix adds and builds are valid for pix, which has the same infos.
func TestNixAddsForPix(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, _ layout) {
		s := openReal(t, d, Options{})
		runLocal(t, d, "sh", "-c", `mkdir -p /tmp/tree/sub && echo hi >/tmp/tree/sub/file && ln -s sub /tmp/tree/link && chmod +x /tmp/tree/sub/file
			nix-store --add /tmp/tree
			nix-store --add-fixed sha256 /tmp/tree/sub/file
			nix-store --add-fixed --recursive sha1 /tmp/tree`)
		out := strings.TrimSpace(runLocal(t, d, "nix-build", "--no-out-link", "--expr", `
			let dep = builtins.toFile "dep" "dep"; in
			derivation {
				name = "built"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
				args = [ "-c" "echo ${dep} $dev $out > $out; echo dev > $dev" ];
			}`))
		checkAgree(t, d, s)
		path, err := storepath.Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.QueryPathInfo(t.Context(), path)
		if err != nil || !info.Ultimate || info.Deriver == "" || len(info.References) != 3 {
			t.Fatalf("%+v, %v", info, err)
		}
		derivers, err := s.QueryValidDerivers(t.Context(), path)
		if err != nil || !slices.Equal(derivers, []storepath.Path{info.Deriver}) {
			t.Error(derivers, err)
		}
		missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: info.Deriver}, Outputs: derivation.AllOutputs()}})
		if err != nil || len(missing.WillBuild)+len(missing.Unknown) > 0 {
			t.Errorf("%+v, %v", missing, err)
		}
		all, err := s.QueryAllValidPaths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			readNAR(t, s, p) // which verifies it
		}
		log, err := s.BuildLog(t.Context(), info.Deriver)
		if err != nil {
			t.Fatal(err)
		}
		log.Close()
	})
}

// Nix and pix add the same and different paths at the same time.
func TestPixAndNixAddAtOnce(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, _ layout) {
		s := openReal(t, d, Options{})
		const n = 40
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				for i := range n {
					dep, err := s.AddTextToStore(t.Context(), fmt.Sprint("dep", i), "x", nil)
					if err == nil {
						_, err = s.AddTextToStore(t.Context(), fmt.Sprint("text", i), "x "+string(dep), []storepath.Path{dep})
					}
					if err == nil {
						_, err = s.AddToStore(t.Context(), fmt.Sprint("tree", i), storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		workers.Go(func() {
			stdout, stderr, err := tryLocal(t, d, "nix-instantiate", "--eval", "--strict", "--read-write-mode", "--expr", fmt.Sprintf(`
				builtins.genList (i: let n = toString i; in builtins.toFile "text${n}" "x ${builtins.toFile "dep${n}" "x"}") %d`, n))
			if err != nil {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
		workers.Wait()
		realVerify(t, d)
		if paths, err := s.QueryAllValidPaths(t.Context()); err != nil || len(paths) != 3*n {
			t.Errorf("%d paths, want %d, %v", len(paths), 3*n, err)
		}
		if left := onDisk(t, s); len(left) != 3*n {
			t.Errorf("the store directory has %q", left)
		}
	})
}

// A database that pix has created is the same as one that Nix has created.
func TestSchemaOfNix(t *testing.T) {
	for _, name := range sharedSuites {
		t.Run(name, func(t *testing.T) {
			features := map[string]string{"experimental-features": "nix-command ca-derivations"}
			d := realnix.Start(t, realnix.Get(t, name), &realnix.Options{Config: features})
			theirs := openReal(t, d, Options{ReadOnly: true})
			ours := open(t, Options{Root: t.TempDir()})
			if err := ours.write(t.Context(), func(c *conn) error { return c.migrate(realisationsMigration, realisationsSchema) }); err != nil {
				t.Fatal(err)
			}
			got, want := schemaOf(t, ours), schemaOf(t, theirs)
			if strings.HasPrefix(d.Version, "2.8.") { // which lists no migrations, and lacks an index and a trigger
				for _, name := range []string{"SchemaMigrations", "DeleteSelfRefsViaRealisations", "IndexRealisationsRefsRealisationReference"} {
					delete(got, name)
				}
			}
			for name, sql := range want {
				if got[name] != sql {
					t.Errorf("%s is\n%s\nin Nix %s\n%s", name, got[name], d.Version, sql)
				}
			}
			for name, sql := range got {
				if want[name] == "" {
					t.Errorf("the database of Nix %s has no %s\n%s", d.Version, name, sql)
				}
			}
			for _, f := range []func(layout) string{layout.schemaFile, layout.reserved} {
				a, errA := os.ReadFile(f(ours.layout))
				b, errB := os.ReadFile(f(theirs.layout))
				if errA != nil || errB != nil || len(a) != len(b) || len(a) < 10 && string(a) != string(b) {
					t.Errorf("%s has %d bytes, in Nix %d; %v, %v", f(ours.layout), len(a), len(b), errA, errB)
				}
			}
		})
	}
}

var comments = regexp.MustCompile(`(?m)--.*$`)

// schemaOf returns the definitions in a database by name, without comments and whitespace.
func schemaOf(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := s.read(t.Context(), func(c *conn) error {
		return c.query("select name, sql from sqlite_schema where sql is not null", func(row *sqlite.Stmt) error {
			all[row.ColumnText(0)] = strings.Join(strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ", ";", " ; ").Replace(comments.ReplaceAllString(row.ColumnText(1), ""))), " ")
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Nix can use a store that pix has created.
func TestNixOpensStoreOfPix(t *testing.T) {
	for _, name := range sharedSuites {
		t.Run(name, func(t *testing.T) {
			d := realnix.Start(t, realnix.Get(t, name), nil)
			s := open(t, Options{Root: filepath.Join(d.HostPath("/tmp"), "fresh")})
			path, err := s.AddTextToStore(t.Context(), "hello", "hello", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _, floating := drvs(t, s)
			r := store.KeyedRealisation{ID: store.DrvOutput{Path: floating, Output: "out"}, Realisation: store.Realisation{OutPath: path}}
			if err := s.RegisterDrvOutput(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"nix-store", "--store", "/tmp/fresh", "--verify", "--check-contents"},
				{"nix", "path-info", "--store", "/tmp/fresh", string(path)},
				{"nix", "path-info", "--store", "local?root=/tmp/fresh", string(path)},
				{"nix", "realisation", "info", "--store", "/tmp/fresh", "--experimental-features", "nix-command ca-derivations", string(floating) + "^*"},
			} {
				if strings.HasPrefix(d.Version, "2.8.") && args[1] == "realisation" {
					continue // its command expects logical store paths
				}
				stdout, stderr, err := tryLocal(t, d, args...)
				if err != nil || strings.Contains(stderr, "error") {
					t.Errorf("%q: %v\n%s", args, err, stderr)
				}
				if args[0] == "nix" && !strings.Contains(stdout, path.Base()) {
					t.Errorf("%q prints %q", args, stdout)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, stderr, err := tryLocal(t, d, "nix-store", "--store", "/tmp/fresh", "--verify", "--check-contents"); err != nil {
				t.Errorf("after Close: %v\n%s", err, stderr)
			}
		})
	}
}
