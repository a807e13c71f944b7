package viewtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Hostile is a text that must never be more than text: as markup it runs a script, its separators end a line of a script,
// and its other characters change the direction of the text or are not visible.
const Hostile = "</script><script>hacked=1</script><img src=x onerror=hacked=1>\u2028\u2029\u202e\u2066\u200b\x1b[31m\"'&${hacked=1}"

// A Small is a store with contents, a derivation, roots and running builds, all of them with hostile texts.
type Small struct {
	*memstore.Store
	App, Lib, Source, Drv storepath.Path // App refers to Lib and Source

	mu     sync.Mutex
	builds []store.ActiveBuild
}

// NewSmall returns such a store.
func NewSmall(ctx context.Context) (*Small, error) {
	s := &Small{Store: memstore.New(nil)}
	add := func(name string, references []storepath.Path, files ...string) (storepath.Path, error) {
		archive, err := directory(files...)
		if err != nil {
			return "", err
		}
		info, err := s.AddToStore(ctx, name, storepath.NAR, nixhash.SHA256, references, archive, nil)
		if err != nil {
			return "", err
		}
		return info.Path, nil
	}
	var err error
	if s.Lib, err = add("lib-1.0", nil, "lib.so", "a library"); err != nil {
		return nil, err
	}
	if s.Source, err = add("source-1.0", nil, "main.c", "int main() {}"); err != nil {
		return nil, err
	}
	s.App, err = add("app-1.0", []storepath.Path{s.Lib, s.Source}, "bin", "and "+string(s.Source), "src=x onerror=hacked=1", string(s.Lib)+Hostile, "\u202eexe.app", "it needs "+string(s.Lib))
	if err != nil {
		return nil, err
	}
	d := &derivation.Derivation{Name: "app-1.0", Dir: s.Dir(), Platform: "x86_64-linux", Builder: "/bin/sh" + Hostile, Args: []string{"-c", Hostile}}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	d.Env.Set(Hostile, Hostile)
	d.Env.Set("script", "line 1\n"+Hostile+"\nline 3")
	d.InputSources.Add(s.Source)
	if s.Drv, err = store.AddDerivation(ctx, s.Store, d); err != nil {
		return nil, err
	}
	return s, nil
}

// directory returns the archive of a directory: a name and the contents of each file, sorted by name.
func directory(files ...string) (io.Reader, error) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for i := 0; i < len(files); i += 2 {
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: files[i], Size: uint64(len(files[i+1]))})
		io.WriteString(w, files[i+1])
	}
	return &b, w.Close()
}

// FindRoots implements store.Rooter.
func (s *Small) FindRoots(context.Context) ([]store.Root, error) {
	return []store.Root{{Link: "/home/" + Hostile + "/result", Path: s.App}, {Link: "{temp:17}", Path: s.Drv}}, nil
}

// SetBuild makes a build of the derivation run that is in a phase; "" is no build.
func (s *Small) SetBuild(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.builds = nil
	if phase != "" {
		cpu := 2500 * time.Millisecond
		s.builds = []store.ActiveBuild{{
			Derivation: s.Drv, Start: time.Now().Add(-75 * time.Second), PID: 4711, Owner: 17, User: store.User{UID: 30001, Name: "nixbld1"}, Phase: phase,
			Processes: []store.ActiveProcess{{PID: 4711, Parent: 17, Args: []string{"bash", "-e", Hostile}, CPUUser: &cpu}},
		}}
	}
}

// QueryActiveBuilds implements store.ActiveBuildQuerier.
func (s *Small) QueryActiveBuilds(context.Context) ([]store.ActiveBuild, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.builds, nil
}

// ExplainLiveness implements store.LivenessExplainer.
func (s *Small) ExplainLiveness(_ context.Context, path storepath.Path) (*store.Liveness, error) {
	roots, err := s.FindRoots(context.Background())
	if err != nil {
		return nil, err
	}
	switch path {
	case s.App:
		return &store.Liveness{Root: roots[0], Chain: []store.LivenessStep{{Path: s.App, Needed: store.LiveRoot}}}, nil
	case s.Lib, s.Source:
		return &store.Liveness{Root: roots[0], Chain: []store.LivenessStep{{Path: s.App, Needed: store.LiveRoot}, {Path: path, Needed: store.LiveReference}}}, nil
	case s.Drv:
		return &store.Liveness{Root: roots[1], Chain: []store.LivenessStep{{Path: s.Drv, Needed: store.LiveRoot}}}, nil
	}
	return nil, fmt.Errorf("'%s' is %s", path, Hostile)
}
