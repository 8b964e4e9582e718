"""The server's AI service: the manager, with its candidates taken from the configured routes."""

from __future__ import annotations

from collections.abc import Mapping

from waypost.gateway.fallback import Candidate
from waypost.gateway.router import Router
from waypost.manager.provider import AIServiceProvider
from waypost.manager.service import AIServiceManager, ServiceCandidate, ServicePlan
from waypost.settings.references import Target


class RoutedAIService(AIServiceManager):
    """An AIServiceManager whose `model` argument is a route, an alias, `provider/model` or a bare id."""

    def __init__(self, router: Router, providers: Mapping[str, AIServiceProvider]) -> None:
        super().__init__()
        self.router = router
        for name, provider in providers.items():
            self.add_provider(name, provider)

    def _plan(self, model: str | None) -> ServicePlan:
        plan = self.router.plan(model)
        candidates = tuple(self._candidate(target) for target in plan.targets)
        return ServicePlan(candidates, plan.notes)

    def _candidate(self, target: Target) -> ServiceCandidate:
        provider = self._providers[target.provider]
        return Candidate(target.provider, provider, target.model or provider.default_model)
