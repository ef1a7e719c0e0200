# SPDX-License-Identifier: Apache-2.0
"""Networks. Each states its ordered `blocks` and its `head`, so that later rooms can tap them by name."""
