package substitute

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"pix/activity"
	"pix/internal/parallel"
	"pix/nixconf"
	"pix/store"
)

const (
	// maxSources is the number of different stores that can be named. Only trusted users can name any store.
	maxSources = 256
	// sourcePause is the time after which a store that could not be opened is tried again.
	sourcePause = 60 * time.Second
)

// ErrClosed is the error of sources that are used after they were closed.
var ErrClosed = errors.New("the substituters were closed")

// Sources opens substituters by their URIs when they are first needed, and keeps them open. Only the
// field Open is required. Methods may be called concurrently.
type Sources struct {
	// Open opens the store that a URI names. The URI is passed without the parameters that
	// configure a substituter (priority, want-mass-query and trusted).
	Open func(ctx context.Context, uri string) (store.Store, error)

	// Variant returns a key for the options that Open uses in a context. Calls whose keys differ get
	// stores that were opened separately. Nil means that the options do not depend on the context.
	Variant func(ctx context.Context) string

	mu     sync.Mutex
	known  map[sourceKey]*source
	closed bool
}

// A sourceKey identifies a substituter and the options with which it was opened.
type sourceKey struct{ variant, uri string }

// A source is a substituter that is open or could not be opened. A goroutine that uses the other
// fields holds the semaphore, which a context can interrupt.
type source struct {
	sem   chan struct{}
	sub   Substituter
	err   error
	until time.Time // the next attempt, if it could not be opened
}

// Get returns the substituters that the URIs name, without duplicates. One that cannot be opened is
// left out with a warning to the handler of the context, and is not tried again for a minute. The
// error is the cause of the end of the context, or [ErrClosed].
func (s *Sources) Get(ctx context.Context, uris []string) ([]Substituter, error) {
	subs, errs := make([]Substituter, len(uris)), make([]error, len(uris))
	opening, openCtx := parallel.WithContext(ctx, 0)
	for i, uri := range uris {
		opening.Go(func() error {
			subs[i], errs[i] = s.get(openCtx, uri)
			return nil // one failure does not stop the others
		})
	}
	opening.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var open []Substituter
	seen := make(map[string]bool)
	for i, uri := range uris {
		switch {
		case errs[i] == ErrClosed:
			return nil, ErrClosed
		case seen[uri]:
		case errs[i] == nil:
			open = append(open, subs[i])
		default:
			if h := activity.HandlerOf(ctx); h != nil {
				h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: fmt.Sprintf("warning: %v", errs[i])})
			}
		}
		seen[uri] = true
	}
	return open, nil
}

// get returns the substituter for one URI, and opens it if necessary.
func (s *Sources) get(ctx context.Context, uri string) (Substituter, error) {
	key := sourceKey{uri: uri}
	if s.Variant != nil {
		key.variant = s.Variant(ctx)
	}
	o, err := s.source(key)
	if err != nil {
		return Substituter{}, err
	}
	select {
	case o.sem <- struct{}{}:
		defer func() { <-o.sem }()
	case <-ctx.Done():
		return Substituter{}, context.Cause(ctx)
	}
	if o.sub.Store == nil && (o.err == nil || !time.Now().Before(o.until)) {
		sub, err := s.open(ctx, uri)
		if ctx.Err() != nil { // the error may come from this context: the next caller tries again
			if err == nil {
				sub.Store.Close()
			}
			return Substituter{}, context.Cause(ctx)
		}
		o.sub, o.err, o.until = sub, err, time.Now().Add(sourcePause)
	}
	return o.sub, o.err
}

// source returns the source with a key, and adds one if there is none.
func (s *Sources) source(key sourceKey) (*source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o := s.known[key]; {
	case s.closed:
		return nil, ErrClosed
	case o != nil:
		return o, nil
	case len(s.known) >= maxSources:
		return nil, fmt.Errorf("too many substituters: at most %d can be used", maxSources)
	}
	if s.known == nil {
		s.known = make(map[sourceKey]*source)
	}
	o := &source{sem: make(chan struct{}, 1)}
	s.known[key] = o
	return o, nil
}

// open opens a substituter and applies the parameters of its URI.
func (s *Sources) open(ctx context.Context, uri string) (Substituter, error) {
	bare, params, err := splitParams(uri)
	if err != nil {
		return Substituter{}, err
	}
	opened, err := s.Open(ctx, bare)
	if err != nil {
		return Substituter{}, err
	}
	sub := NewSubstituter(opened, bare)
	if params.priority != nil {
		sub.Priority = *params.priority
	}
	if params.wantMassQuery != nil {
		sub.WantMassQuery = *params.wantMassQuery
	}
	sub.Trusted = params.trusted
	return sub, nil
}

// Close closes all open substituters. Calls that still use them fail.
func (s *Sources) Close() error {
	s.mu.Lock()
	known := s.known
	s.known, s.closed = nil, true
	s.mu.Unlock()
	var errs []error
	for _, o := range known {
		o.sem <- struct{}{}
		if o.sub.Store != nil {
			errs = append(errs, o.sub.Store.Close())
		}
		o.sub, o.err, o.until = Substituter{}, ErrClosed, time.Now().Add(time.Hour)
		<-o.sem
	}
	return errors.Join(errs...)
}

// params are the parameters of a URI that configure a substituter.
type params struct {
	priority      *int
	wantMassQuery *bool
	trusted       bool
}

// splitParams splits a URI into the URI of the store and the parameters that configure the substituter.
func splitParams(uri string) (bare string, p params, err error) {
	bare, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri, p, nil
	}
	var others []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if value, err = url.PathUnescape(value); err == nil {
			var known bool
			if known, err = p.set(name, value); !known {
				others = append(others, pair)
			}
		}
		if err != nil {
			return "", p, fmt.Errorf("invalid parameter %s of a substituter: %w", name, err)
		}
	}
	if len(others) > 0 {
		bare += "?" + strings.Join(others, "&")
	}
	return bare, p, nil
}

// set parses a parameter. It reports whether the parameter configures a substituter.
func (p *params) set(name, value string) (known bool, err error) {
	switch name {
	case "priority":
		n, err := strconv.Atoi(value)
		p.priority = &n
		return true, err
	case "want-mass-query":
		wanted, err := nixconf.ParseBool(value)
		p.wantMassQuery = &wanted
		return true, err
	case "trusted":
		p.trusted, err = nixconf.ParseBool(value)
		return true, err
	}
	return false, nil
}
