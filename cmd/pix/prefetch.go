package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/binarycache"
	"pix/internal/redact"
	"pix/internal/sizes"
	"pix/internal/unpack"
	"pix/nar"
	"pix/nixconf"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// prefetchOptions are the flags of prefetch.
type prefetchOptions struct {
	name, algorithm, expected  string
	unpack, executable, asJSON bool
	maxSize                    uint64 // of the download and of the unpacked files, in bytes
}

// defaultMaxSize is the default of --max-size.
const defaultMaxSize = 16 << 30

func newPrefetch(a *app) *cobra.Command {
	o := prefetchOptions{maxSize: defaultMaxSize}
	cmd := &cobra.Command{
		Use:   "prefetch URL",
		Short: "Download a file into the store and print its hash",
		Long: `Download a file into the store, and print its hash and its store path, a line each. The URL begins
with https://, http:// or file://. Logins come from the netrc file, proxies from the environment.

With --unpack the archive is unpacked: a tar archive, also compressed with gzip, xz, zstd, bzip2,
lzma or lz4, or a zip archive. If it has a single directory or file at its top, that is added. With
--unpack or --executable the hash is the hash of the Nix archive, as for fetchzip.

With --expected-hash, nothing is downloaded if the store has the path already, and nothing is added
if the hash differs.`,
		Example: "  pix prefetch https://example.org/hello-1.0.tar.gz\n" +
			"  pix prefetch --unpack --name source https://example.org/hello-1.0.tar.gz",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFetched,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.newPrefetching(args[0], &o, cmd.Flags().Changed("hash-algo"))
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toCreate, func(ctx context.Context, s store.Store) error {
				path, h, err := p.run(ctx, s)
				if err != nil {
					return err
				}
				object := struct {
					Hash      string         `json:"hash"`
					StorePath storepath.Path `json:"storePath"`
				}{h.SRI(), path}
				return a.printEither(h.SRI()+"\n"+string(path)+"\n", object, o.asJSON)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "the `name` of the store object (default the last part of URL)")
	flags.StringVar(&o.algorithm, "hash-algo", nixhash.SHA256.String(), "the hash `algorithm`: md5, sha1, sha256, sha512 or blake3")
	flags.StringVar(&o.expected, "expected-hash", "", "the `hash` that is expected; another one is an error")
	flags.BoolVar(&o.unpack, "unpack", false, "unpack the archive, and add its files")
	flags.BoolVar(&o.executable, "executable", false, "make the file executable")
	flags.Func("max-size", "the largest `size` of the file, and of the files in an archive, with K, M, G or T (default 16G)", o.setMaxSize)
	flags.BoolVar(&o.asJSON, "json", false, "print an object with the hash and the store path, as JSON")
	otherNames(cmd, map[string]string{"type": "hash-algo", "expected": "expected-hash"})
	for _, name := range []string{"name", "expected-hash", "max-size"} {
		freeValue(cmd, name)
	}
	valuesOf(cmd, "hash-algo", hashAlgorithms...)
	return cmd
}

// completeFetched completes the beginnings of URLs.
func completeFetched(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"https://", "http://", "file:///"}, noFiles | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
}

func (o *prefetchOptions) setMaxSize(value string) error {
	n, err := nixconf.ParseSize(value)
	if err == nil && (n == 0 || n > 1<<60) {
		err = fmt.Errorf("%q is not a useful size", value)
	}
	o.maxSize = n
	return err
}

// A prefetching is the state of a call of prefetch.
type prefetching struct {
	*prefetchOptions
	url      string
	address  addressing
	expected nixhash.Hash // zero if any hash is good
	http     *binarycache.HTTPOptions
}

// newPrefetching checks the flags. The errors are usage errors.
func (a *app) newPrefetching(rawURL string, o *prefetchOptions, algorithmGiven bool) (*prefetching, error) {
	p := &prefetching{prefetchOptions: o, url: rawURL, address: addressing{method: storepath.Flat}}
	if o.unpack || o.executable {
		p.address.method = storepath.NAR
	}
	var err error
	if p.address.algorithm, err = nixhash.ParseAlgorithm(o.algorithm); err != nil {
		return nil, &usageError{err}
	}
	if o.expected != "" {
		if p.expected, err = parseHash(o.expected, p.address.algorithm, algorithmGiven); err != nil {
			return nil, err
		}
		p.address.algorithm = p.expected.Algorithm()
	}
	if o.name == "" {
		if o.name, err = fetchedName(rawURL); err != nil {
			return nil, &usageError{err}
		}
	}
	if err := storepath.CheckName(o.name); err != nil {
		return nil, &usageError{fmt.Errorf("%w; give the store object a name with --name", err)}
	}
	cache, err := a.cacheOptions(notServing)
	if err != nil {
		return nil, err
	}
	p.http = &cache.HTTP
	return p, nil
}

// fetchedName returns the name of the file at a URL: the last part of its path, as in Nix.
func fetchedName(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("URL '%s': %w", redact.URL(rawURL), redact.Error(err))
	}
	name := u.Path[strings.LastIndex(strings.TrimRight(u.Path, "/"), "/")+1:]
	if name = strings.TrimRight(name, "/"); name == "" {
		return "", fmt.Errorf("the URL '%s' has no file name; give the store object one with --name", u.Redacted())
	}
	return name, nil
}

// run downloads the file, unless the store has it, and adds it.
func (p *prefetching) run(ctx context.Context, s store.Store) (storepath.Path, nixhash.Hash, error) {
	if !p.expected.IsZero() {
		path, err := p.path(s, p.expected)
		if err != nil {
			return "", p.expected, &usageError{err}
		}
		valid, err := areValid(ctx, s, []storepath.Path{path}, false)
		if err != nil || valid[0] {
			return path, p.expected, err
		}
	}
	dir, err := os.MkdirTemp("", "pix-prefetch-")
	if err != nil {
		return "", nixhash.Hash{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "file")
	err = p.download(ctx, file)
	if err == nil && p.unpack {
		file, err = p.unpackFile(ctx, file, filepath.Join(dir, "unpacked"))
	}
	if err != nil {
		return "", nixhash.Hash{}, adviceOnFullTemp(err)
	}
	return p.add(ctx, s, file)
}

// adviceOnFullTemp adds advice to an error of writing temporary files if their disk is full.
func adviceOnFullTemp(err error) error {
	if isFullDisk(err) {
		return fmt.Errorf("%w; set TMPDIR to a directory with more space", err)
	}
	return err
}

// path returns the path of contents with this hash.
func (p *prefetching) path(s store.Store, h nixhash.Hash) (storepath.Path, error) {
	ca, err := storepath.NewContentAddress(p.address.method, h)
	if err != nil {
		return "", err
	}
	return s.Dir().FixedOutputPath(p.name, ca, storepath.References{})
}

// download writes the file at the URL to a new file.
func (p *prefetching) download(ctx context.Context, file string) error {
	src, err := binarycache.Fetch(ctx, p.url, p.http)
	if err != nil {
		return fetchingError(err)
	}
	defer src.Close()
	mode := os.FileMode(0o600)
	if p.executable {
		mode = 0o700
	}
	dst, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	reader, done := reportFetching(ctx, redact.URL(p.url), src)
	defer done()
	n, err := io.Copy(dst, io.LimitReader(reader, int64(p.maxSize)+1))
	if err == nil && uint64(n) > p.maxSize {
		err = fmt.Errorf("the file at '%s' has more than %s; allow more with --max-size", redact.URL(p.url), sizes.Human(p.maxSize))
	}
	return errors.Join(err, dst.Close())
}

// fetchingError returns the error of a fetch. An invalid URL is a usage error. A file that the server refuses is a failure;
// other errors of requests say that the answer is unknown.
func fetchingError(err error) error {
	if _, ok := errors.AsType[*binarycache.FetchError](err); ok {
		return &usageError{err}
	}
	if request, ok := errors.AsType[*binarycache.RequestError](err); ok && 400 <= request.Status && request.Status < 500 {
		return errors.New(errorText(err))
	}
	return err
}

// reportFetching reports an activity for a download to the handler of ctx, like [reportAdding].
func reportFetching(ctx context.Context, shownURL string, contents io.Reader) (reader io.Reader, done func()) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return contents, func() {}
	}
	id := activity.NewID()
	h.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelTalkative, Type: activity.FileTransfer, Text: fmt.Sprintf("downloading '%s'", shownURL),
		Fields: []activity.Field{activity.Text(shownURL)},
	})
	return activity.ProgressReader(h, id, contents, 0), func() { h.HandleEvent(activity.Stop{ID: id}) }
}

// unpackFile unpacks an archive into a new directory. It returns the directory, or the only file or directory in it.
func (p *prefetching) unpackFile(ctx context.Context, archive, dir string) (string, error) {
	fail := func(err error) (string, error) {
		if limit, ok := errors.AsType[*unpack.LimitError](err); ok && limit.What == "bytes" {
			err = fmt.Errorf("%w; allow more with --max-size, up to 500 times the size of the archive", err)
		}
		return "", fmt.Errorf("unpacking '%s': %w", redact.URL(p.url), err)
	}
	file, err := os.Open(archive)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	if err := unpack.File(ctx, root, file, unpack.Limits{Size: int64(p.maxSize)}); err != nil {
		return fail(err)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return fail(err)
	case len(entries) == 0:
		return fail(errors.New("the archive is empty"))
	case len(entries) == 1:
		return filepath.Join(dir, entries[0].Name()), nil
	}
	return dir, nil
}

// add adds a file or directory, after it has compared its hash with the expected one.
func (p *prefetching) add(ctx context.Context, s store.Store, file string) (storepath.Path, nixhash.Hash, error) {
	h, err := p.hash(ctx, file)
	if err != nil {
		return "", h, err
	}
	if !p.expected.IsZero() && h != p.expected {
		return "", h, fmt.Errorf("hash mismatch for '%s':\nexpected: %s\ngot:      %s", redact.URL(p.url), p.expected.SRI(), h.SRI())
	}
	want, err := p.path(s, h)
	if err != nil {
		return "", h, err
	}
	contents, err := p.open(ctx, file)
	if err != nil {
		return "", h, err
	}
	defer contents.Close()
	info, err := store.Add(ctx, s, p.name, p.address.method, p.address.algorithm, nil, contents, nil)
	if err != nil {
		return "", h, fmt.Errorf("adding '%s': %w", redact.URL(p.url), err)
	}
	if info.Path != want { // the answer of a daemon
		return "", h, fmt.Errorf("adding '%s': the store has added it as '%s', not as '%s'", redact.URL(p.url), info.Path, want)
	}
	return want, h, nil
}

func (p *prefetching) hash(ctx context.Context, file string) (nixhash.Hash, error) {
	if p.address.method == storepath.NAR {
		h, _, err := nar.HashPath(ctx, file, p.address.algorithm, nil)
		return h, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nixhash.Hash{}, err
	}
	defer f.Close()
	running := p.address.algorithm.New()
	_, err = io.Copy(running, f)
	return nixhash.FromHash(p.address.algorithm, running), err
}

// open opens the file, or its archive.
func (p *prefetching) open(ctx context.Context, file string) (io.ReadCloser, error) {
	if p.address.method == storepath.Flat {
		return os.Open(file)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(nar.Dump(ctx, w, file, nil)) }() // ends at the latest when r is closed
	return r, nil
}
