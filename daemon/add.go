package daemon

import (
	"context"
	"fmt"
	"strings"

	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

var _ store.TextAdder = (*Conn)(nil)

// AddTextToStore adds a file with those contents and references, as builtins.toFile does,
// and returns its path. The references must be valid already. The path is computed here
// first, so that a name or reference that is not valid is an error before anything is
// sent ([*storepath.Error]); a daemon that comes to another path is an error too.
func (c *Conn) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	want, err := c.Dir().TextPath(name, nixhash.Sum(nixhash.SHA256, []byte(contents)), references)
	if err != nil {
		return "", err
	}
	got, err := c.addText(ctx, name, contents, references)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("the daemon added '%s' as '%s', not as '%s': is its store directory %s?", name, got, want, c.Dir())
	}
	return got, nil
}

func (c *Conn) addText(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if c.Version() < framedAdd {
		req := &protocol.AddTextToStoreRequest{Name: name, Contents: contents, References: references}
		reply, err := do[protocol.PathReply](ctx, c, req, nil)
		return reply.Path, err
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: references}
	reply, err := do[protocol.AddToStoreReply](ctx, c, req, strings.NewReader(contents))
	return reply.Info.Path, err
}

// framedAdd is the version from which texts are added by AddToStore, in frames, and
// AddTextToStore is obsolete.
var framedAdd = protocol.MakeVersion(25)
