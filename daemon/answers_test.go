package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A liar is a store that answers with another path than the one that was asked for.
type liar struct{ store.Store }

func (liar) AddTextToStore(context.Context, string, string, []storepath.Path) (storepath.Path, error) {
	return helloPath, nil
}

func (l liar) AddToStore(_ context.Context, _ string, _ storepath.Method, _ nixhash.Algorithm, _ []storepath.Path, contents io.Reader, _ *store.AddOptions) (*store.PathInfo, error) {
	info := fakeInfo
	_, err := io.Copy(io.Discard, contents)
	return &info, err
}

func (liar) QueryPathInfo(context.Context, storepath.Path) (*store.PathInfo, error) {
	info := fakeInfo
	return &info, nil
}

func (liar) QueryValidPaths(context.Context, []storepath.Path, bool) ([]storepath.Path, error) {
	return fakePaths, nil
}

func (liar) QuerySubstitutablePaths(context.Context, []storepath.Path) ([]storepath.Path, error) {
	return fakePaths, nil
}

func (liar) QuerySubstitutablePathInfos(context.Context, map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	return []store.SubstitutableInfo{{Path: helloPath}}, nil
}

func (liar) QueryPathFromHashPart(context.Context, string) (storepath.Path, error) {
	return helloPath, nil
}

func (liar) BuildDerivation(context.Context, storepath.Path, *derivation.Derivation, store.BuildMode) (*store.BuildResult, error) {
	result := fakeResult
	return &result, nil
}

// Every answer that the client can compute, or that must be among the paths that it has asked for, is checked. The
// connection stays usable.
func TestLyingDaemon(t *testing.T) {
	asked := []storepath.Path{absent}
	built := func(output derivation.Output, name string) func(context.Context, *daemon.Pool) error {
		return func(ctx context.Context, p *daemon.Pool) error {
			d := newDerivation("absent", "true")
			d.Outputs.Delete("out")
			d.Outputs.Set(name, output)
			_, err := p.BuildDerivation(ctx, fakeDrv, d, store.BuildNormal)
			return err
		}
	}

	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(context.Context, *daemon.Pool) error{
		"text": func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.AddTextToStore(ctx, "x", "text", nil)
			return err
		},
		"valid paths": func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.QueryValidPaths(ctx, asked, false)
			return err
		},
		"substitutable paths": func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.QuerySubstitutablePaths(ctx, asked)
			return err
		},
		"substitutable infos": func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.QuerySubstitutablePathInfos(ctx, map[storepath.Path]storepath.ContentAddress{absent: {}})
			return err
		},
		"hash part": func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.QueryPathFromHashPart(ctx, absent.HashPart())
			return err
		},
		"built path":     built(derivation.InputAddressedOutput(absent), "out"),
		"fixed path":     built(derivation.FixedOutput(ca, ""), "out"),
		"unknown output": built(derivation.FloatingOutput(storepath.NAR, nixhash.SHA256), "other"),
	}
	for _, m := range []storepath.Method{storepath.Text, storepath.Flat, storepath.NAR} {
		calls["add "+m.String()] = func(ctx context.Context, p *daemon.Pool) error {
			_, err := p.AddToStore(ctx, "x", m, nixhash.SHA256, nil, bytes.NewReader(fakeNAR), nil)
			return err
		}
	}
	// Before protocol 1.25 an object is added in another way, and before 1.28 the result of a build has no outputs.
	for _, version := range []protocol.Version{newest, protocol.MakeVersion(28), protocol.MakeVersion(24)} {
		d := daemontest.New(t, &daemontest.Options{Store: liar{memstore.New(nil)}, Version: version})
		p, err := daemon.Open(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range calls {
			isBuild := strings.HasSuffix(name, "output") || strings.HasSuffix(name, "path")
			if isBuild && version < protocol.MakeVersion(28) {
				continue
			}
			var wrong *daemon.AnswerError
			if err := call(t.Context(), p); !errors.As(err, &wrong) || !strings.Contains(err.Error(), helloPath.HashPart()) && name != "unknown output" {
				t.Errorf("%s, version %s: %v", name, version, err)
			}
		}
		if info, err := p.QueryPathInfo(t.Context(), helloPath); err != nil || info.Path != helloPath {
			t.Errorf("%v, %v", info, err)
		}
		p.Close()
	}
}

// An honest daemon passes the checks with every method and algorithm, also if contents arrive byte by byte, and if the
// reader continues after the archive.
func TestHonestAnswers(t *testing.T) {
	d := daemontest.New(t, nil)
	p, err := daemon.Open(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ref, err := p.AddTextToStore(t.Context(), "ref", "ref", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    storepath.Method
		a    nixhash.Algorithm
		refs []storepath.Path
		more string
	}{
		{storepath.Text, nixhash.SHA256, []storepath.Path{ref}, ""},
		{storepath.Flat, nixhash.SHA512, nil, ""},
		{storepath.NAR, nixhash.SHA256, []storepath.Path{ref}, ""},
		{storepath.NAR, nixhash.SHA1, nil, "and more"},
	} {
		contents := iotest.OneByteReader(io.MultiReader(bytes.NewReader(fakeNAR), strings.NewReader(c.more)))
		info, err := p.AddToStore(t.Context(), "x", c.m, c.a, c.refs, contents, nil)
		if err != nil || info.Path.Name() != "x" {
			t.Errorf("%s with %s: %v", c.m, c.a, err)
		}
	}
}
