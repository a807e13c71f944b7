package binarycache

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"time"

	"pix/internal/descriptors"
	"pix/signature"
	"pix/storepath"
)

// Options configure a cache. Nil and the zero value are useful. The parameters of a URI override
// them.
type Options struct {
	// StoreDir is the store directory that the cache must be for; "" is
	// [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Compression is the method for new archives: "zstd", "xz", "gzip", "br" or "none". "" is
	// zstd, which every Nix since 2.4 reads, and which takes a fraction of the time of xz. Nix
	// 2.3 needs xz, the default of Nix.
	Compression string

	// CompressionLevel is the level of the method; 0 is its default. xz has only the default.
	CompressionLevel int

	// SecretKeys sign added paths.
	SecretKeys []signature.SecretKey

	// WriteListings writes a listing of the contents of each added archive.
	WriteListings bool

	// Create lets [Open] open a cache behind HTTP that has no nix-cache-info. The first addition sends the file.
	// Without it, such a server is no cache, and Open returns an error.
	Create bool

	// SyncObjects syncs directories as well as files, in the order in which they depend on each other. Then an
	// added object survives a power cut. Without it, the last objects may be missing after a power cut, and a
	// narinfo may exist without its archive. Only directories have such an option.
	SyncObjects bool

	// HTTP configures access to a cache behind HTTP.
	HTTP HTTPOptions
}

// HTTPOptions configure access to a cache behind HTTP. The zero value is useful.
type HTTPOptions struct {
	// Client sends the requests; nil is a client of the store's own, with HTTP/2 if the server supports
	// it. The store sets the login of each redirected request before it calls the client's own CheckRedirect.
	Client *http.Client

	// Wrap returns the RoundTripper that the store uses instead of the one of its client, for example to sign requests;
	// nil changes nothing. An error of it with a method "Permanent() bool" that returns true is not retried.
	Wrap func(http.RoundTripper) http.RoundTripper

	// S3 is set if the server speaks the protocol of S3.
	S3 *S3Options

	// Proxy, CAFile, Certificate, PrivateKey and NoHTTP2 are for the store's own client.
	//
	// Proxy returns the proxy of a request, such as [http.ProxyFromEnvironment]; nil is no proxy. CAFile is
	// a file with the certificate authorities to trust, in PEM; "" trusts the authorities of the system.
	// Certificate and PrivateKey are files, in PEM, with which the client authenticates itself.
	Proxy                   func(*http.Request) (*url.URL, error)
	CAFile                  string
	Certificate, PrivateKey string
	NoHTTP2                 bool

	// Netrc is the path of a file with logins and passwords for hosts, in the format of curl and Nix;
	// "" is no file. The file completes the login in a URL: http://me@HOST gets the password of "me".
	// A host that a server names in a redirect or in a narinfo gets a login only from a complete
	// entry for exactly that host. It gets none by HTTP if the cache or an earlier redirect had HTTPS.
	//
	// The file is read again when it has changed. If it cannot be read, no passwords are sent, and the
	// handler in the context gets a warning (see [pix/activity]).
	Netrc string

	// SameOrigin refuses the URLs of archives, and redirects, that lead to another scheme, host or port than the
	// cache has. Without it, a cache can make this machine send GET requests to any HTTP server that it can
	// reach.
	SameOrigin bool

	// UserAgent is the header User-Agent; "" is "pix".
	UserAgent string

	// ConnectTimeout bounds connecting, with the TLS handshake; 0 is 15 s. ResponseTimeout bounds the
	// wait for the header of the response after that; 0 is 60 s. StallTimeout bounds the wait of a
	// reader for 1024 bytes of the body; 0 is 60 s. A negative timeout is no limit.
	ConnectTimeout, ResponseTimeout, StallTimeout time.Duration

	// Tries is the number of attempts in a row at a request that fails transiently; 0 is 5. A broken
	// download is resumed, and 64 KiB of progress reset the count.
	Tries int

	// ConnectTries is the number of attempts in a row that may fail because the server cannot be reached. It is for
	// programs whose users wait. If it is not 0, an attempt that ConnectTimeout has ended is not repeated. 0 is Tries.
	ConnectTries int

	// RetryTimeout is the time after the first failure in which a request is retried; 0 is 2 minutes. If
	// a server asks for a longer wait, the request fails.
	RetryTimeout time.Duration

	// RetryDelay is the pause before the first retry; 0 is 250 ms. RateLimitedDelay is the pause
	// after the status 429; 0 is 10 s. Each further pause is twice as long, up to MaxRetryDelay; 0
	// is 60 s. Up to half of a pause is added at random, unless NoJitter is set.
	RetryDelay, RateLimitedDelay, MaxRetryDelay time.Duration
	NoJitter                                    bool

	// NarInfoEncoding, ListingEncoding and LogEncoding are the methods with which narinfos, listings and logs are
	// compressed in uploads, as in Options.Compression; "" does not compress them. The server must store the header
	// Content-Encoding of an upload, and send it with the file.
	NarInfoEncoding, ListingEncoding, LogEncoding string

	// DownloadSpeed limits the speed of each body, in bytes per second; 0 is no limit.
	DownloadSpeed int64

	// Parallel is the largest number of small files, and of small archives, that are requested at once; 0 is 128.
	// The store begins with 32 small files and 16 archives, requests more if the server bears it, and fewer
	// if the server refuses them. Parallel is lowered if the process may open few files, because each request
	// may need a connection, and a program may have several caches open. At most as many large archives, and
	// at most 32, have connections of their own.
	Parallel int

	// PositiveTTL and NegativeTTL are how long the store caches a narinfo, and the absence of one. 0 is
	// the default of Nix, 30 days and an hour; a negative TTL disables caching.
	PositiveTTL, NegativeTTL time.Duration

	// Override changes options for the context of a call. [Open] uses Netrc and CAFile from it as long as the
	// store is open. Every call uses its timeouts, number of tries, delays and TTLs. Other changes have no
	// effect. Nil changes nothing.
	Override func(ctx context.Context, opts *HTTPOptions)

	// CacheSize is the number of bytes of narinfos that are cached; 0 is 16 MiB.
	CacheSize int
}

func (o *HTTPOptions) setDefaults() {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 15*time.Second)
	o.ResponseTimeout = cmp.Or(o.ResponseTimeout, 60*time.Second)
	o.StallTimeout = cmp.Or(o.StallTimeout, 60*time.Second)
	o.Tries = cmp.Or(o.Tries, 5)
	o.RetryTimeout = cmp.Or(o.RetryTimeout, 2*time.Minute)
	o.RetryDelay = cmp.Or(o.RetryDelay, 250*time.Millisecond)
	o.RateLimitedDelay = cmp.Or(o.RateLimitedDelay, 10*time.Second)
	o.MaxRetryDelay = cmp.Or(o.MaxRetryDelay, time.Minute)
	o.Parallel = min(cmp.Or(max(o.Parallel, 0), maxRequests), max(2, descriptors.Limit()/32))
	o.PositiveTTL = cmp.Or(o.PositiveTTL, 30*24*time.Hour)
	o.NegativeTTL = cmp.Or(o.NegativeTTL, time.Hour)
	o.CacheSize = cmp.Or(o.CacheSize, 16<<20)
	o.UserAgent = cmp.Or(o.UserAgent, "pix")
}

// forCall returns the options for a call with this context.
func (o *HTTPOptions) forCall(ctx context.Context) *HTTPOptions {
	if o.Override == nil {
		return o
	}
	changed := *o
	o.Override(ctx, &changed)
	changed.setDefaults()
	return &changed
}
