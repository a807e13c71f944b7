package s3

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/logging"

	"pix/activity"
	"pix/binarycache"
)

// credentialsLimit bounds the search for credentials, as in Nix: the service of a cloud machine may not answer.
const credentialsLimit = 30 * time.Second

// Open opens the cache in a bucket. The options are as in [binarycache.Open]. The credentials come from the environment and
// from the configuration files of AWS.
//
// The error is a [*binarycache.URIError] for an invalid URI, an [*Error] if the server does not accept the credentials or has no such bucket,
// or another error of [binarycache.Open].
func Open(ctx context.Context, uri string, opts *binarycache.Options) (*binarycache.Store, error) {
	b, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if _, _, err := b.url(); err != nil { // before the search for credentials, which takes long
		return nil, b.invalid(err)
	}
	found, err := b.findCredentials(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		warn(ctx, "no credentials for '"+b.uploads.Name+"' were found, so requests are not signed; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the parameter profile of the URI: "+err.Error())
	}
	return b.open(ctx, found, opts)
}

// OpenWith is like [Open] with credentials of the caller. Nil credentials do not sign requests.
func OpenWith(ctx context.Context, uri string, found aws.CredentialsProvider, opts *binarycache.Options) (*binarycache.Store, error) {
	b, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	return b.open(ctx, found, opts)
}

// open opens the cache. Without credentials, requests are not signed.
func (b *bucket) open(ctx context.Context, found aws.CredentialsProvider, opts *binarycache.Options) (*binarycache.Store, error) {
	u, warning, err := b.url()
	if err != nil {
		return nil, b.invalid(err)
	}
	if warning != "" {
		warn(ctx, warning)
	}
	if b.uploads.Multipart && b.uploads.Threshold < b.uploads.PartSize {
		warn(ctx, "multipart-threshold is less than multipart-chunk-size, so some uploads have a single part")
	}
	o := new(binarycache.Options)
	if opts != nil {
		*o = *opts
	}
	wrap := o.HTTP.Wrap
	o.HTTP.S3 = &b.uploads
	o.HTTP.Wrap = func(next http.RoundTripper) http.RoundTripper {
		if wrap != nil {
			next = wrap(next)
		}
		return newSigner(next, u, b.region, found)
	}
	return binarycache.Open(ctx, u.String(), o)
}

// invalid returns the error for a URI with invalid parameters.
func (b *bucket) invalid(err error) error {
	return &binarycache.URIError{URI: b.uploads.Name, Reason: err.Error()}
}

// findCredentials returns the credentials in the environment, as Nix prefers them, or the ones that AWS's own search
// finds. They are cached, and replaced before they expire.
func (b *bucket) findCredentials(ctx context.Context) (aws.CredentialsProvider, error) {
	environment, err := config.NewEnvConfig()
	if err == nil && environment.Credentials.HasKeys() {
		c := environment.Credentials
		return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken), nil
	}
	found := &foundCredentials{load: b.loadCredentials}
	if _, err := found.Retrieve(ctx); err != nil {
		return nil, err
	}
	return found, nil
}

// loadCredentials makes AWS's own search.
func (b *bucket) loadCredentials(ctx context.Context) (aws.CredentialsProvider, error) {
	settings := []func(*config.LoadOptions) error{config.WithRegion(b.region), config.WithLogger(logging.Nop{})}
	if b.profile != "" {
		settings = append(settings, config.WithSharedConfigProfile(b.profile))
	}
	c, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, err
	}
	return c.Credentials, nil
}

// foundCredentials are the credentials that a search finds. When the server reports that they have expired, it searches again:
// another program may have written new ones to the configuration files during a long copy.
type foundCredentials struct {
	load func(ctx context.Context) (aws.CredentialsProvider, error)

	mu    sync.Mutex
	found aws.CredentialsProvider // nil before a search
}

// Retrieve implements [aws.CredentialsProvider].
func (f *foundCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialsLimit)
	defer cancel()
	found, err := f.provider(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return found.Retrieve(ctx) // without the lock: it may ask a server
}

// provider returns the result of the last search, or of a new one.
func (f *foundCredentials) provider(ctx context.Context) (_ aws.CredentialsProvider, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found == nil {
		f.found, err = f.load(ctx)
	}
	return f.found, err
}

// Invalidate makes the next call of Retrieve search again.
func (f *foundCredentials) Invalidate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = nil
}

// warn sends a warning to the handler in ctx.
func warn(ctx context.Context, text string) {
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: "warning: " + text})
	}
}
