package sandbox

import "context"

// KillUser kills all processes of a user of this machine, which must not be root. Only root can do that.
func KillUser(ctx context.Context, uid int) error { return standard.KillUser(ctx, uid) }
