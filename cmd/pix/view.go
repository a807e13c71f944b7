package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pix/internal/redact"
	"pix/store"
	"pix/storepath"
	"pix/view"
)

// viewOptions are the flags of view.
type viewOptions struct {
	listen string
	url    string
	tls    tlsFiles
	noOpen bool
	export string // a file to write instead of serving the page
}

func newView(a *app) *cobra.Command {
	var o viewOptions
	var stdin bool
	cmd := &cobra.Command{
		Use:   "view [PATH...]",
		Short: "Show a closure in the browser",
		Long: `Show the closure of paths in the browser: sizes, dependencies, and the paths that need a path.
Without a PATH, show the whole store. This process serves the page until an interrupt; the page
loads nothing from elsewhere.

Only the browser of this user can read the page: its address has a token that is valid once.
Without a display, or with --no-open, that address is printed instead of opened. An address for
--listen that other machines can reach needs a certificate.

--export writes one HTML file instead, for example to attach to an issue. It has the names and sizes
of the paths, and loads nothing.`,
		Example: "  pix view /run/current-system\n" +
			"  pix view --no-open /nix/store/...-hello.drv\n" +
			"  pix view --export hello.html /nix/store/...-hello",
		GroupID:           groupStore,
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(o.checkExport(cmd), o.check()); err != nil {
				return wrongUse(cmd, err)
			}
			whole := len(args) == 0 && !stdin
			if !whole {
				var err error
				if args, err = a.withStdin(cmd, args, stdin); err != nil {
					return err
				}
			}
			return a.view(cmd.Context(), args, whole, &o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.noOpen, "no-open", false, "print the address of the page instead of opening it")
	flags.StringVar(&o.export, "export", "", "write one HTML `file` instead of serving the page; - is standard output")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "the `address` to listen on: HOST:PORT; port 0 is any free port")
	flags.StringVar(&o.url, "url", "", "the `URL` of the page in the browser (default http:// or https:// with the address)")
	o.tls.addFlags(cmd)
	addStdinFlag(cmd, &stdin)
	completeFlag(cmd, "export", completeFiles)
	freeValue(cmd, "listen")
	freeValue(cmd, "url")
	return cmd
}

// view shows the closure of named objects, or the whole store.
func (a *app) view(ctx context.Context, args []string, whole bool, o *viewOptions) error {
	names, err := a.names(args)
	if err != nil {
		return err
	}
	return a.withStore(ctx, toRead, func(ctx context.Context, s store.Store) error {
		roots, err := objectsOf(ctx, s, names)
		if err != nil {
			return err
		}
		if len(roots) == 0 && !whole {
			return &usageError{errors.New("standard input names no path; without --stdin, the whole store is shown")}
		}
		if o.export != "" {
			return a.exportView(ctx, s, roots, o.export)
		}
		return a.serveView(ctx, s, roots, o)
	})
}

// checkExport returns an error if a flag is about serving the page, and the page is written into a file.
func (o *viewOptions) checkExport(cmd *cobra.Command) error {
	if o.export == "" {
		return nil
	}
	for _, name := range []string{"listen", "no-open", "tls-certificate", "tls-key", "url"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is for serving the page, and --export writes a file", name)
		}
	}
	return nil
}

// check returns an error if the flags do not fit together.
func (o *viewOptions) check() error {
	if err := o.tls.check(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil || isSocketPath(o.listen) { // a browser cannot connect to a Unix socket
		return fmt.Errorf("'%s' is not an address to listen on, such as localhost:8080", o.listen)
	}
	if o.url == "" {
		return nil
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("'%s' is not the URL of a page at the root of its host, such as https://host.example:8443", o.url)
	}
	return nil
}

// exportView writes a file with the closure of the roots.
func (a *app) exportView(ctx context.Context, s store.Store, roots []storepath.Path, file string) error {
	var page bytes.Buffer
	if err := view.Export(ctx, &page, s, &view.Options{Name: rootNames(roots), Roots: roots}); err != nil {
		return err
	}
	if file == "-" {
		return a.print(page.String())
	}
	return writeFile(ctx, file, page.Bytes())
}

// viewGrace is the time that running requests have to end after an interrupt.
const viewGrace = 2 * time.Second

// serveView serves the page about the closure of the roots until the context ends.
func (a *app) serveView(ctx context.Context, s store.Store, roots []storepath.Path, o *viewOptions) error {
	tlsConfig, err := o.tls.config(ctx)
	if err != nil {
		return err
	}
	l, err := listenOn(o.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if tlsConfig == nil && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return &usageError{fmt.Errorf("other machines can reach '%s', so everyone between could read the page: use --tls-certificate and --tls-key", o.listen)}
	}
	keys, err := a.verifyingKeys(&verifyOptions{}, false)
	if err != nil {
		return err
	}
	origin, others := o.origin(l.Addr().(*net.TCPAddr))
	handler, err := view.New(ctx, s, &view.Options{Origin: origin, OtherHosts: others, Name: a.viewName(roots), Roots: roots, TrustedKeys: keys})
	if err != nil {
		return err
	}
	if err := a.progress.end(nil); err != nil {
		return err
	}
	srv := newHTTPServer(handler)
	srv.TLSConfig = tlsConfig
	return a.servePage(ctx, srv, l, origin+"/#token="+handler.NewToken(), o.noOpen)
}

// servePage opens the page at an address, and serves it until the context ends.
func (a *app) servePage(ctx context.Context, srv *http.Server, l net.Listener, address string, noOpen bool) error {
	srv.BaseContext = func(net.Listener) context.Context { return ctx } // an interrupt ends the streams
	srv.ReadTimeout = srv.ReadHeaderTimeout                             // the handler reads small bodies only
	closePage, err := a.openPage(address, noOpen)
	if err != nil {
		return err
	}
	defer closePage()
	return a.serveHTTP(ctx, []httpServing{{srv, []net.Listener{l}}}, viewGrace)
}

// origin returns the origin of the page, and other hosts by which a browser of this machine reaches it.
func (o *viewOptions) origin(addr *net.TCPAddr) (origin string, others []string) {
	scheme := "http"
	if o.tls.cert != "" {
		scheme = "https"
	}
	host := addr.String()
	port := fmt.Sprint(addr.Port)
	if addr.IP.IsLoopback() {
		others = []string{"localhost:" + port}
	}
	if o.url != "" {
		u, _ := url.Parse(o.url) // check has parsed it
		return u.Scheme + "://" + u.Host, append(others, host)
	}
	if name, _, err := net.SplitHostPort(o.listen); err == nil && name != "" && !addr.IP.IsLoopback() && net.ParseIP(name) == nil {
		return scheme + "://" + net.JoinHostPort(name, port), append(others, host) // the certificate has the name
	}
	return scheme + "://" + host, others
}

// viewName returns what the page shows: the names of the roots, and the store.
func (a *app) viewName(roots []storepath.Path) string {
	choice, err := a.choose(openOptions{access: toRead})
	if err != nil || choice.uri == "" {
		return rootNames(roots)
	}
	uri := redact.URL(choice.uri)
	if len(roots) == 0 {
		return uri
	}
	return rootNames(roots) + " in " + uri
}

// rootNames returns the names of the first roots.
func rootNames(roots []storepath.Path) string {
	const most = 3
	names := make([]string, 0, most)
	for _, root := range roots[:min(most, len(roots))] {
		names = append(names, root.Name())
	}
	text := strings.Join(names, ", ")
	if more := len(roots) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
