package pix

import (
	"context"
	"fmt"
	"net"
	"strings"

	"pix/activity"
	"pix/protocol"
	"pix/server"
	"pix/store"
)

// builderClients is how many connections a builder may have at once.
const builderClients = 128

// submissionOptions are the options for builders with the feature builder-rpc-v0, as in Nix 2.36. Such a builder must see
// the same on each machine, so the version and the features never change, and other operations are refused.
var submissionOptions = &server.Options{
	Version:       protocol.MakeVersion(38),
	NoFeatures:    true,
	BuildFeatures: protocol.RealisationWithPath | protocol.NoSetOptions | protocol.Scanning | protocol.OutputSubmission,
	Before: func(_ context.Context, req protocol.Request) error {
		switch op := req.Op(); op {
		case protocol.AddToStore, protocol.AddMultipleToStore, protocol.AddToStoreNar, protocol.AddToStoreScanning,
			protocol.SubmitOutput, protocol.AddTempRoot, protocol.IsValidPath:
			return nil
		default:
			return fmt.Errorf("Operation %d not allowed inside derivation", op) //nolint:staticcheck // Nix's words
		}
	},
}

// ServeBuilder serves a store to the clients of a builder with the feature recursive-nix or builder-rpc-v0: see
// [realise.Settings]. They are not trusted, and share a memory budget, which no client of another build uses.
func ServeBuilder(ctx context.Context, l net.Listener, s store.Store) error {
	srv := &server.Server{Store: s, MaxClients: builderClients, MaxClientsPerUser: builderClients}
	if _, submits := store.As[store.OutputSubmitter](s); submits {
		srv.Options = submissionOptions
	}
	if h := activity.HandlerOf(ctx); h != nil {
		ctx = activity.WithHandler(ctx, connectionLog{h})
	}
	return srv.Serve(ctx, l)
}

// A connectionLog passes on why connections of a builder were closed, for users who debug it. A builder can cause any
// number of these messages, so they have a level that few ask for.
type connectionLog struct{ activity.Handler }

func (c connectionLog) HandleEvent(e activity.Event) {
	if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "closed ") {
		log.Level = activity.LevelDebug
		c.Handler.HandleEvent(log)
	}
}
