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

// realVerify lets Nix check the whole store, and all contents in it.
func realVerify(t testing.TB, d *realnix.Daemon) {
	t.Helper()
	_, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents")
	if err != nil || strings.Contains(stderr, "error") || strings.Contains(stderr, "disappeared") || strings.Contains(stderr, "modified") {
		t.Errorf("Nix %s finds errors: %v\n%s", d.Version, err, stderr)
	}
}

// realInfos returns what Nix knows of all paths.
func realInfos(t testing.TB, d *realnix.Daemon) map[storepath.Path]*store.PathInfo {
	t.Helper()
	infos, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte(runLocal(t, d, "nix", "path-info", "--json", "--all")))
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// mustAgree compares what Nix and pix know of all paths.
func mustAgree(t testing.TB, d *realnix.Daemon, s *Store) {
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
		if spell(got) != spell(info) {
			t.Errorf("pix knows\n%s\nNix %s knows\n%s", spell(got), d.Version, spell(info))
		}
	}
	var list []storepath.Path
	for path := range want {
		list = append(list, path)
	}
	slices.Sort(list)
	for _, path := range list {
		mustAgreeOn(t, d, s, path)
	}
}

// mustAgreeOn compares the answers about one path.
func mustAgreeOn(t testing.TB, d *realnix.Daemon, s *Store, path storepath.Path) {
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
			t.Errorf("%s of %s: pix says %q, Nix %s %q", question, path, got, d.Version, want)
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
		if !slices.Contains(paths, "") { // Nix refuses those that are not known
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

func spell(info *store.PathInfo) string {
	return fmt.Sprintf("%s %s %d refs %v deriver %q sigs %v ca %q ultimate %v at %d", info.Path, info.NARHash, info.NARSize,
		info.References, info.Deriver, info.Signatures, info.CA, info.Ultimate, info.RegistrationTime.Unix())
}

// What pix adds is valid for Nix, which finds nothing wrong with it and knows the same.
func TestPixAddsForNix(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, _ layout) {
		key, err := signature.GenerateKey("key-1")
		if err != nil {
			t.Fatal(err)
		}
		s := openReal(t, d, Options{TrustedKeys: signature.NewKeySet(key.Public())})
		ctx := t.Context()
		dep, err := s.AddTextToStore(ctx, "dep", "dep", nil)
		if err != nil {
			t.Fatal(err)
		}
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
			if _, err := s.AddToStore(ctx, fmt.Sprint("x", i), c.m, c.a, c.refs, strings.NewReader(c.contents), nil); err != nil {
				t.Fatal(err)
			}
		}
		first, _, _ := drvs(t, s)
		signed, archive := object(t, "signed", dep)
		signed.References = append(signed.References, signed.Path)
		slices.Sort(signed.References)
		signed.Deriver = first
		signed.Sign(key)
		if err := s.AddToStoreNAR(ctx, signed, bytes.NewReader(archive), nil); err != nil {
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
		if err := s.AddMultipleToStore(ctx, 20, many, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		another, err := signature.GenerateKey("another-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddSignatures(ctx, dep, []string{another.Sign([]byte("x")).String()}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddBuildLog(ctx, first, strings.NewReader("a log\n")); err != nil {
			t.Fatal(err)
		}
		realVerify(t, d)
		mustAgree(t, d, s)
		mustBeCanonical(t, s)
		if log := runLocal(t, d, "nix-store", "--read-log", string(first)); log != "a log\n" {
			t.Errorf("the log is %q", log)
		}
		// It adds the same without doing anything, and can go on from it.
		if got := runLocal(t, d, "nix-instantiate", "--eval", "--expr", `builtins.toFile "dep" "dep"`); !strings.Contains(got, string(dep)) {
			t.Errorf("Nix has another path: %s, not %s", got, dep)
		}
		if got := runLocal(t, d, "nix-store", "--dump", string(dep)); got != string(readNAR(t, s, dep)) {
			t.Errorf("the archive is %q", got)
		}
		runLocal(t, d, "nix-store", "--gc")
	})
}

// What Nix adds and builds is valid for pix, which knows the same of it.
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
		mustAgree(t, d, s)
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
			readNAR(t, s, p) // which checks it
		}
		log, err := s.BuildLog(t.Context(), info.Deriver)
		if err != nil {
			t.Fatal(err)
		}
		log.Close()
	})
}

// Nix and pix add the same and other things at once.
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
			t.Errorf("in the store directory there is %q", left)
		}
	})
}

// A database that pix made is the one that Nix would have made.
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
			if strings.HasPrefix(d.Version, "2.8.") { // which lists no migrations, and has an index and a trigger less
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
					t.Errorf("Nix %s has no %s\n%s", d.Version, name, sql)
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

// schemaOf returns the definitions in a database by their names, without comments and spaces.
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

// A store that pix made, and that Nix has never seen, is one for Nix.
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
					continue // its command takes paths for what they are of
				}
				stdout, stderr, err := tryLocal(t, d, args...)
				if err != nil || strings.Contains(stderr, "error") {
					t.Errorf("%q: %v\n%s", args, err, stderr)
				}
				if args[0] == "nix" && !strings.Contains(stdout, path.Base()) {
					t.Errorf("%q says %q", args, stdout)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, stderr, err := tryLocal(t, d, "nix-store", "--store", "/tmp/fresh", "--verify", "--check-contents"); err != nil {
				t.Errorf("after it was closed: %v\n%s", err, stderr)
			}
		})
	}
}
