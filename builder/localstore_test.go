package builder

import "pix/localstore"

var _ Store = (*localstore.Store)(nil)
