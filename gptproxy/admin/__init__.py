"""
What an operator looks at: is it up, can it serve, how is it doing.

:class:`Health` asks its probes, none of which costs anything; :func:`admin_tree` serves that, the metrics and the
status on the admin listener, with details, and :class:`HealthPage` on the public one, without.
"""

from gptproxy.admin.health import Condition, Health, State
from gptproxy.admin.pages import HealthPage, ReadinessPage, admin_tree

__all__ = ["Condition", "Health", "HealthPage", "ReadinessPage", "State", "admin_tree"]
