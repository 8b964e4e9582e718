"""The server's AI service: the manager, with its candidates taken from the configured routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waypost.gateway.policy import Policy
from waypost.gateway.router import Router
from waypost.gateway.schedule import Candidate
from waypost.manager.provider import AIServiceProvider
from waypost.manager.service import AIServiceManager, ServiceCandidate, ServicePlan
from waypost.settings.references import Target


class RoutedAIService(AIServiceManager):
    """An AIServiceManager whose `model` argument is a route, an alias, `provider/model` or a bare id.

    `policies` holds those of the routes that have one of their own; `policy` is for all other names.
    """

    def __init__(
        self,
        router: Router,
        providers: Mapping[str, AIServiceProvider],
        *,
        policies: Mapping[str, Policy] | None = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.router = router
        self._policies = policies or {}
        self._policy = policy or Policy()
        for name, provider in providers.items():
            self.add_provider(name, provider)

    def _plan(self, arguments: Mapping[str, Any]) -> ServicePlan:
        plan = self.router.plan(arguments.get("model"))
        thinks = arguments.get("reasoning_effort") is not None
        candidates = tuple(self._candidate(target, thinks=thinks) for target in plan.targets)
        return ServicePlan(candidates, plan.notes, self._policies.get(plan.route or "", self._policy))

    def _candidate(self, target: Target, *, thinks: bool) -> ServiceCandidate:
        provider = self._providers[target.provider]
        return Candidate(
            target.provider,
            provider,
            target.model or provider.default_model,
            slow_start=thinks or provider.slow_start,
        )
